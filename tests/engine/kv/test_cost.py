"""The cost model: what it predicts, how it follows a machine, and where loading starts to pay."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from engine.kv import cost_file
from engine.kv.cost import LOAD_GRACE_MS, OFF_FACTOR, WINDOW, CostModel, Costs, Work

# KV bytes a token, f16: 24 layers of two heads of 64 values, and the widths of models of 1.5 and 7 billion.
DEFAULT_BYTES, LARGE_BYTES = 12_288, 57_344


def machine(tokens_per_s: float, *, ram_mb_per_s: float = 5000, disk_mb_per_s: float = 500) -> Costs:
    """A machine that computes so many tokens of a prompt a second, whatever the batch."""
    ms = 1000 / tokens_per_s
    return Costs(
        batches=((1, ms), (512, 512 * ms)),
        attend_ms=0.0,
        ram_ms=1000 / ram_mb_per_s,
        disk_ms=1000 / disk_mb_per_s,
        read_ms=0.0,
        rotate_ms=0.0,
    )


def test_time_is_that_of_the_batches_what_they_attend_to_and_what_is_placed() -> None:
    costs = Costs(
        batches=((1, 20.0), (8, 48.0), (32, 240.0)), attend_ms=0.001, decode_ms=20.0, decode_attend_ms=0.002,
        ram_ms=0.5, disk_ms=2.0, read_ms=1.0, rotate_ms=0.01,
    )  # fmt: skip
    model = CostModel(costs)

    assert model.predict(Work(compute_tokens=8)) == pytest.approx(48 + 0.001 * 8 * 4)
    assert model.predict(Work(compute_tokens=20)) == pytest.approx(144 + 0.001 * 20 * 10)  # between 8 and 32
    assert model.predict(Work(compute_tokens=72)) == pytest.approx(2 * 240 + 48 + 0.001 * 72 * 36)
    assert model.predict(Work(compute_tokens=16, calls=2)) == pytest.approx(96 + 0.001 * 16 * 8)
    assert model.predict(Work(compute_tokens=8, attend_tokens=1000)) == pytest.approx(48 + 8 + 0.032)
    assert model.predict(Work(load_bytes_ram=2_000_000, rotate_tokens=100)) == pytest.approx(1 + 1)
    assert model.predict(Work(load_bytes_disk=2_000_000, reads=3)) == pytest.approx(1 + 4 + 3)
    assert model.predict(Work(outputs=10, attend_tokens=1000)) == pytest.approx(10 * (20 + 0.002 * 1005))
    assert model.predict(Work()) == 0


@pytest.mark.parametrize(
    ("name", "tokens_per_s", "token_bytes", "least", "most"),
    [
        # design/kv-reuse.md: about 1 MB/s on 2 cores, 2-55 MB/s on a laptop, 0.7-2.3 GB/s on an H200.
        ("2 cores", 110, DEFAULT_BYTES, 1.0, 1.5),
        ("laptop, CPU", 170, DEFAULT_BYTES, 2.0, 2.2),
        ("laptop, GPU", 4_500, DEFAULT_BYTES, 50, 60),
        ("H200, small model", 57_000, DEFAULT_BYTES, 690, 720),
        ("H200, 7B", 40_000, LARGE_BYTES, 2_200, 2_400),
    ],
)
def test_decisions_flip_at_the_break_even_bandwidth(
    name: str, tokens_per_s: float, token_bytes: int, least: float, most: float
) -> None:
    """512 tokens of a document, read at nine tenths and eleven tenths of the break-even bandwidth."""
    size = 512 * token_bytes
    fast_memory = 1e9
    model = CostModel(machine(tokens_per_s, ram_mb_per_s=fast_memory))
    even = model.break_even_mb_per_s(tokens=512, size=size)
    assert least <= even <= most

    def decide(disk_mb_per_s: float) -> str:
        costs = machine(tokens_per_s, ram_mb_per_s=fast_memory, disk_mb_per_s=disk_mb_per_s)
        return CostModel(costs).choose(tokens=512, attend=0, size=size, tier="disk").decision

    assert (decide(0.9 * even), decide(1.1 * even)) == ("compute", "load")


def test_on_a_gpu_small_documents_are_computed_and_long_ones_loaded() -> None:
    """A call costs 5 ms for up to 512 tokens; a read starts after 6 ms, then 3 GB/s."""
    gpu = Costs(
        batches=((1, 5.0), (512, 9.0)), attend_ms=0.0, ram_ms=0.02, disk_ms=1 / 3, read_ms=6.0, rotate_ms=0.0
    )
    decide = CostModel(gpu).choose
    small, long = 64, 4096
    assert decide(tokens=small, attend=0, size=small * DEFAULT_BYTES, tier="disk").decision == "compute"
    assert decide(tokens=long, attend=0, size=long * DEFAULT_BYTES, tier="disk").decision == "load"
    assert decide(tokens=small, attend=0, size=small * DEFAULT_BYTES, tier="ram").decision == "load"


def test_where_placing_alone_takes_longer_no_disk_is_fast_enough() -> None:
    slow_memory = CostModel(machine(100_000, ram_mb_per_s=10))
    assert slow_memory.break_even_mb_per_s(tokens=512, size=512 * DEFAULT_BYTES) == float("inf")


def test_patience_leaves_out_what_would_take_longer() -> None:
    model = CostModel(machine(100, disk_mb_per_s=2))  # 256 tokens: 2.6 s computed, 1.6 s loaded
    size = 256 * DEFAULT_BYTES
    unknown = model.choose(tokens=256, attend=0, patience_ms=1000)
    assert (unknown.decision, unknown.ms) == ("skip", 0)
    assert unknown.reason == "encoding takes 2560 ms, 1000 are left"
    assert model.choose(tokens=256, attend=0, patience_ms=3000).decision == "compute"
    assert model.choose(tokens=256, attend=0, patience_ms=None).decision == "compute"
    slow = model.choose(tokens=256, attend=0, size=size, tier="disk", patience_ms=1000)
    assert slow.reason.startswith("loading takes 157")
    assert model.choose(tokens=256, attend=0, size=size, tier="disk", patience_ms=2000).decision == "load"


def test_loading_what_is_at_hand_needs_no_patience() -> None:
    model = CostModel(machine(100))
    found = model.choose(tokens=256, attend=0, size=256 * DEFAULT_BYTES, tier="ram", patience_ms=0)
    assert found.decision == "load"
    assert found.ms < LOAD_GRACE_MS


def feed(model: CostModel, truth: Costs, count: int, *, seed: int = 1, spread: float = 0.1) -> None:
    """So many requests of all kinds, timed by a machine whose constants are `truth`."""
    draw = random.Random(seed)
    works = [
        Work(compute_tokens=40, attend_tokens=500),
        Work(load_bytes_ram=30_000_000, rotate_tokens=2000),
        Work(outputs=30, attend_tokens=800),
    ]
    for n in range(count):
        work = works[n % len(works)]
        actual = sum(truth.parts(work).values()) * draw.lognormvariate(0, spread)
        model.observe(work, actual)


def scaled(costs: Costs, *, compute: float = 1.0, load: float = 1.0, decode: float = 1.0) -> Costs:
    return Costs(
        batches=tuple((n, ms * compute) for n, ms in costs.batches), attend_ms=costs.attend_ms * compute,
        decode_ms=costs.decode_ms * decode, decode_attend_ms=costs.decode_attend_ms * decode,
        ram_ms=costs.ram_ms * load, disk_ms=costs.disk_ms * load, read_ms=costs.read_ms * load,
        rotate_ms=costs.rotate_ms * load,
    )  # fmt: skip


def test_a_busy_machine_is_followed_each_part_for_itself_and_forgotten_when_idle_again() -> None:
    idle = Costs()
    model = CostModel(idle)
    feed(model, scaled(idle, compute=3.0, load=1.5, decode=2.0), 3 * WINDOW)
    assert model.correction("compute") == pytest.approx(3.0, rel=0.1)
    assert model.correction("load") == pytest.approx(1.5, rel=0.1)
    assert model.correction("decode") == pytest.approx(2.0, rel=0.1)
    feed(model, idle, 3 * WINDOW)
    assert [model.correction(part) for part in ("compute", "load", "decode")] == pytest.approx(
        [1] * 3, rel=0.1
    )


def test_outliers_change_nothing() -> None:
    model, work = CostModel(), Work(compute_tokens=40)
    expected = model.predict(work)
    for n in range(4 * WINDOW):
        model.observe(work, expected * (50 if n % 4 == 0 else 1))
    assert model.predict(work) == pytest.approx(expected)
    fresh = CostModel()
    fresh.observe(work, 100 * expected)
    fresh.observe(work, 100 * expected)
    assert fresh.predict(work) == pytest.approx(expected)


@pytest.mark.parametrize("actual", [0.0, -1.0, float("nan"), float("inf")])
def test_times_that_are_none_are_ignored(actual: float) -> None:
    model = CostModel()
    for _ in range(2 * WINDOW):
        model.observe(Work(compute_tokens=8), actual)
    model.observe(Work(), 5.0)
    assert model.status()["requests"] == 0
    assert model.correction("compute") == 1


def test_decisions_follow_a_busy_machine() -> None:
    """A disk a bit faster than the break-even bandwidth, until it becomes half as fast."""
    costs, size = machine(110, disk_mb_per_s=1.6), 512 * DEFAULT_BYTES
    model = CostModel(costs)
    assert model.choose(tokens=512, attend=0, size=size, tier="disk").decision == "load"
    for _ in range(WINDOW):
        work = Work(load_bytes_disk=size)
        model.observe(work, 2 * sum(costs.parts(work).values()))
    assert model.choose(tokens=512, attend=0, size=size, tier="disk").decision == "compute"


def test_constants_that_are_off_for_long_are_measured_again() -> None:
    model, work = CostModel(), Work(compute_tokens=40)
    base = model.predict(work)
    for _ in range(WINDOW - 1):
        model.observe(work, base * OFF_FACTOR * 1.2)
    assert not model.off_for_long
    model.observe(work, base * OFF_FACTOR * 1.2)
    assert model.off_for_long
    model.adopt(Costs(measured=1.0))
    assert not model.off_for_long
    assert model.status()["requests"] == WINDOW


def test_the_attention_budget_is_where_a_generated_token_costs_a_quarter_more() -> None:
    model = CostModel(Costs(decode_ms=24.0, decode_attend_ms=0.003))
    budget = model.attention_budget_tokens()
    alone, full = (model.predict(Work(outputs=1, attend_tokens=n)) for n in (0, budget))
    assert full / alone == pytest.approx(1.25, rel=1e-3)
    assert model.attention_budget_tokens(0.5) == 2 * budget
    assert CostModel(Costs(decode_attend_ms=0.0)).attention_budget_tokens() == 2**31 - 1


def test_the_status_shows_predicted_against_actual() -> None:
    model, work = CostModel(), Work(compute_tokens=40)
    for factor in (1.0, 1.5, 0.5):
        model.observe(work, model.predict(work) * factor)
    shown = model.status()
    assert (shown["requests"], shown["off_median"]) == (3, 1.5)
    assert shown["last"][1]["actual_ms"] == pytest.approx(1.5 * shown["last"][1]["predicted_ms"], rel=0.01)


# On disk


def test_a_second_process_goes_on_where_the_first_stopped(tmp_path: Path) -> None:
    key = cost_file.key_of(model="0" * 64, build="1", threads=2)
    model = CostModel(Costs(measured=123.5, decode_ms=17.0))
    feed(model, scaled(model.costs, compute=2.0), 3 * WINDOW)
    assert cost_file.write(tmp_path / "cost", key, model.costs, model.ratios())
    found = cost_file.read(tmp_path / "cost", key)
    assert found is not None
    again = CostModel(found[0])
    again.remember(found[1])
    work = Work(compute_tokens=30, outputs=3, attend_tokens=99)
    assert again.predict(work) == pytest.approx(model.predict(work))
    assert [path.name for path in (tmp_path / "cost").iterdir()] == [f"{key}.json"]


def test_another_machine_model_build_or_thread_count_has_a_file_of_its_own(monkeypatch) -> None:
    keys = {cost_file.key_of(model=m, build=b, threads=t) for m in "ab" for b in "12" for t in (1, 2)}
    assert len(keys) == 8
    mine = cost_file.key_of(model="a", build="1", threads=1)
    monkeypatch.setattr(cost_file.platform, "node", lambda: "another")
    assert cost_file.key_of(model="a", build="1", threads=1) != mine


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: "[]",
        lambda text: text.replace('"version":1', '"version":2'),
        lambda text: text.replace('"decode_ms":25.0', '"decode_ms":-1.0'),
        lambda text: text.replace('"decode_ms":25.0', '"decode_ms":"fast"'),
        lambda text: text.replace('"decode_ms":25.0', '"decode_ms":1e999'),
        lambda text: text.replace("[8,80.0]", "[1,80.0]"),
        lambda text: text.replace('"ratios"', '"rations"'),
        lambda text: "\xff" * 200_000,
    ],
)
def test_a_damaged_file_is_no_file(tmp_path: Path, damage) -> None:
    cost_file.write(tmp_path, "k", Costs(), CostModel().ratios())
    file = tmp_path / "k.json"
    assert cost_file.read(tmp_path, "k") is not None
    changed = damage(file.read_text())
    assert changed != file.read_text()
    file.write_bytes(changed.encode("latin-1"))
    assert cost_file.read(tmp_path, "k") is None


@pytest.mark.usefixtures("obedient")
def test_a_folder_that_cannot_be_written_loses_nothing_but_the_file(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert not cost_file.write(tmp_path / "cost", "k", Costs(), CostModel().ratios())
    assert cost_file.read(tmp_path / "cost", "k") is None
    tmp_path.chmod(0o700)
