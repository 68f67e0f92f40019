"""Calibration: a machine's constants are found from its times, and kept until they are old or wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from engine.kv import cost_file
from engine.kv.cost import WINDOW, CostModel, Costs, Work
from engine.request import Cancel
from engine.runtime import build, calibrate
from engine.runtime.calibrate import ATTENDED_TOKENS, STALE_SECONDS, Calibrator
from engine.runtime.context import Context
from engine.runtime.llama import Model

ROW_BYTES = 6_528  # of the default model, q8_0


class Machine:
    """A context whose decodes and writes take what `costs` says, on a clock of its own."""

    batch_tokens = 56
    rotation_supported = True

    def __init__(self, costs: Costs, *, hiccups: dict[int, float] | None = None, rows: bool = True) -> None:
        self.costs = costs
        self.rows_supported = rows
        self.now = 0.0
        self.held = 0
        self.acts = 0
        self._hiccups = hiccups or {}

    def clock(self) -> float:
        return self.now

    def decode(self, tokens: list[int], position: int) -> None:
        assert position == self.held
        # A decode of one is a generated token: attention costs it what it does there.
        attended = self.costs.decode_attend_ms if len(tokens) == 1 else self.costs.attend_ms
        self._take(self.costs.batch_ms(len(tokens)) + attended * len(tokens) * position)
        self.held += len(tokens)

    def write(
        self, rows, *, total: int, first: int, count: int, position: int, delta: int, kind: str
    ) -> None:
        assert (total, first, rows.nbytes) == (count, 0, count * self.row_bytes(kind))
        self._take(self.costs.load_ms(rows.nbytes, tier="ram", rotate=count if delta else 0))
        self.held = position + count

    def remove(self, position: int) -> None:
        self.held = position

    def clear(self) -> None:
        self.held = 0

    def row_bytes(self, kind: str) -> int:
        return ROW_BYTES if kind == "q8_0" else 2 * ROW_BYTES

    def _take(self, ms: float) -> None:
        self.now += ms * self._hiccups.get(self.acts, 1.0) / 1000
        self.acts += 1


IDLE = Costs(
    batches=((1, 24.0), (8, 75.0), (32, 280.0), (56, 480.0)), decode_ms=24.0, attend_ms=0.0005,
    decode_attend_ms=0.007, ram_ms=0.4, rotate_ms=0.003,
)  # fmt: skip
GPU = Costs(
    batches=((1, 4.0), (8, 4.1), (32, 4.4), (56, 4.8)), decode_ms=4.0, attend_ms=0.0,
    decode_attend_ms=0.00001, ram_ms=0.05, rotate_ms=0.0001,
)  # fmt: skip


def measured(machine: Machine, *, seconds: float = 10.0) -> Costs:
    found = calibrate.measure(machine, vocabulary=1000, seconds=seconds, clock=machine.clock)
    assert machine.held == 0
    return found


@pytest.mark.parametrize("truth", [IDLE, GPU], ids=["two cores", "gpu"])
def test_the_constants_are_found_again(truth: Costs) -> None:
    found = measured(Machine(truth))
    for name in ("decode_ms", "decode_attend_ms", "attend_ms", "ram_ms", "rotate_ms"):
        assert getattr(found, name) == pytest.approx(getattr(truth, name), rel=1e-6, abs=1e-9), name
    assert [n for n, _ in found.batches] == [n for n, _ in truth.batches]
    for n in (1, 5, 20, 56, 100):
        assert found.batch_ms(n) == pytest.approx(truth.batch_ms(n))


def test_a_hiccup_is_not_the_machine() -> None:
    """The second decode of one token and the first of eight take twenty times as long."""
    found = measured(Machine(IDLE, hiccups={1: 20.0, 4: 20.0}))
    assert dict(found.batches) == pytest.approx(dict(IDLE.batches))


def test_more_tokens_at_once_never_seem_to_take_less() -> None:
    found = measured(Machine(IDLE, hiccups={20: 50.0, 19: 50.0, 18: 50.0}))
    times = [ms for _, ms in found.batches]
    assert times == sorted(times)


def test_on_a_slow_machine_measuring_ends_early_with_what_is_known() -> None:
    slow = Costs(batches=((1, 400.0), (8, 1600.0), (32, 6000.0), (56, 10_000.0)), decode_ms=400.0)
    machine = Machine(slow)
    found = measured(machine, seconds=1.5)
    assert dict(found.batches) == pytest.approx(dict(slow.batches[:2]))
    assert machine.now < 4


def test_without_rows_only_computing_is_measured() -> None:
    found = measured(Machine(IDLE, rows=False))
    assert dict(found.batches) == pytest.approx(dict(IDLE.batches))
    assert found.ram_ms == Costs().ram_ms


def test_the_disk_is_read_where_rows_will_be(tmp_path: Path) -> None:
    found = calibrate.with_disk(IDLE, tmp_path / "kv")
    assert found.disk_ms > 0
    assert found.read_ms > 0
    assert list((tmp_path / "kv").iterdir()) == []


@pytest.mark.usefixtures("obedient")
def test_a_disk_that_cannot_be_written_is_assumed(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert calibrate.with_disk(IDLE, tmp_path / "kv") == IDLE
    tmp_path.chmod(0o700)


@pytest.mark.model
class TestCalibrator:
    """With the small model."""

    @pytest.fixture(scope="class")
    def model(self, small_model: Path):
        model = Model(small_model)
        yield model
        model.close()

    @pytest.fixture
    def make(self, model: Model, tmp_path: Path) -> Callable[..., Calibrator]:
        def make(cost: CostModel, *, now: float = 1e9, key: str = "m") -> Calibrator:
            return Calibrator(
                cost, model, model_key=key, folder=tmp_path / "cost", disk=tmp_path / "kv", threads=1,
                clock=lambda: now,
            )  # fmt: skip

        return make

    def test_the_first_start_measures_and_the_second_does_not(self, make) -> None:
        first = CostModel()
        calibrator = make(first)
        calibrator.load()
        assert calibrator.due
        assert calibrator.run()
        assert not calibrator.due
        assert first.costs.measured == 1e9
        assert first.costs.decode_ms > 0
        assert [n for n, _ in first.costs.batches][:2] == [1, 8]

        second = CostModel()
        again = make(second)
        again.load()
        assert second.costs == first.costs
        assert not again.due

    def test_old_future_and_wrong_constants_are_due(self, make) -> None:
        make(cost := CostModel()).run()
        assert not make(cost, now=1e9 + STALE_SECONDS - 1).due
        assert make(cost, now=1e9 + STALE_SECONDS + 1).due
        assert make(cost, now=1e9 - 10).due
        work = Work(compute_tokens=40)
        for _ in range(WINDOW):
            cost.observe(work, 5 * sum(cost.costs.parts(work).values()))
        assert make(cost).due

    def test_corrections_outlive_the_process(self, make) -> None:
        calibrator = make(cost := CostModel())
        calibrator.run()
        work = Work(compute_tokens=40)
        for _ in range(WINDOW):
            cost.observe(work, 1.5 * sum(cost.costs.parts(work).values()))
        calibrator.save()
        make(again := CostModel()).load()
        assert again.correction("compute") == pytest.approx(1.5)

    def test_assumed_constants_are_not_kept(self, make, tmp_path: Path) -> None:
        make(CostModel()).save()
        assert not (tmp_path / "cost").exists()

    def test_a_cancel_ends_it_and_changes_nothing(self, make, tmp_path: Path) -> None:
        cancel = Cancel()
        cancel.set()
        cost = CostModel()
        assert not make(cost).run(cancel)
        assert cost.costs == Costs()
        assert not (tmp_path / "cost").exists()

    def test_a_damaged_file_is_measured_anew(self, make, tmp_path: Path) -> None:
        make(CostModel()).run()
        file = next((tmp_path / "cost").iterdir())
        file.write_bytes(b"\x00" * 10)
        calibrator = make(CostModel())
        calibrator.load()
        assert calibrator.due

    def test_another_build_is_another_machine(self, make, monkeypatch, tmp_path: Path) -> None:
        make(CostModel()).run()
        monkeypatch.setattr(build, "identity", lambda: "another build")
        calibrator = make(CostModel())
        calibrator.load()
        assert calibrator.due

    def test_placing_rows_is_measured_where_the_library_can(self, model: Model) -> None:
        from engine.runtime import extension

        context = Context(
            model,
            context_tokens=ATTENDED_TOKENS + 56,
            batch_tokens=56,
            threads=1,
            features=(extension.KV_ROWS,),
        )
        try:
            if not context.rows_supported:
                pytest.skip("this is a stock llama-cpp-python, which cannot place rows")
            costs = calibrate.measure(context, vocabulary=model.vocabulary_size)
            assert costs.ram_ms != Costs().ram_ms
            assert context.last_position() == -1
        finally:
            context.close()


def test_the_builds_identity_is_stable_and_short() -> None:
    assert build.identity() == build.identity()
    assert len(build.identity()) == 16
    assert cost_file.key_of(model="m", build=build.identity(), threads=1)
