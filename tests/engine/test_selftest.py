"""The self-test: passes on real rows, and notices each way in which they could be wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.errors import EngineError
from engine.runtime import build, extension, selftest
from engine.runtime.context import Context
from engine.runtime.llama import Model
from engine.runtime.selftest import Report

pytestmark = pytest.mark.model
NEEDED = {extension.LOOSE_POSITIONS, extension.KV_ROWS}
patched = pytest.mark.skipif(
    not set(extension.features()) >= NEEDED, reason="the library cannot place keys and values"
)


@pytest.fixture(scope="module")
def model(small_model: Path):
    model = Model(small_model)
    yield model
    model.close()


@patched
@pytest.mark.parametrize("kind", ["f16", "q8_0"])
def test_documents_may_be_put_together(model: Model, kind: Any) -> None:
    found = selftest.run(model, threads=1, kind=kind)
    assert found.verdict == "approximate"
    assert found.rotation_error is not None
    assert found.rotation_error < 0.002
    assert found.composed_kl is not None
    assert 0 < found.composed_kl < 0.5


def tamper(monkeypatch: pytest.MonkeyPatch, change: Callable[[dict[str, Any]], None]) -> None:
    """Let every write go through `change`, which may alter its arguments."""
    write = Context.write

    def changed(self: Context, rows: np.ndarray, **arguments: Any) -> None:
        arguments["rows"] = rows
        change(arguments)
        write(self, arguments.pop("rows"), **arguments)

    monkeypatch.setattr(Context, "write", changed)


def when_moved(change: Callable[[dict[str, Any]], None]) -> Callable[[dict[str, Any]], None]:
    def maybe(arguments: dict[str, Any]) -> None:
        if arguments["delta"]:
            change(arguments)

    return maybe


def deep_keys(arguments: dict[str, Any]) -> None:
    """Everything but the first layer's keys is of other tokens: turned round."""
    rows = arguments["rows"].copy()
    deep = rows[len(rows) // 8 :]
    deep[:] = deep[::-1] & 0xBF  # no exponent of an infinity or a NaN
    arguments["rows"] = rows


@patched
@pytest.mark.parametrize(
    ("change", "verdict", "says"),
    [
        (lambda a: a.update(k_scale=1.05), "off", "do not survive"),
        (lambda a: a.update(rows=a["rows"] ^ 1), "off", "do not survive"),
        (when_moved(lambda a: a.update(delta=a["delta"] + 1)), "exact", "rotated keys are"),
        (when_moved(lambda a: a.update(k_scale=1.05)), "exact", "rotated keys are 5.0% off"),
        (when_moved(deep_keys), "exact", "two documents put together are"),
    ],
    ids=["scaled", "flipped bits", "wrong position", "scaled when moved", "deep layers"],
)
def test_what_is_written_wrongly_is_noticed(
    monkeypatch, model: Model, change, verdict: str, says: str
) -> None:
    tamper(monkeypatch, change)
    found = selftest.run(model, threads=1)
    assert found.verdict == verdict
    assert says in found.why


@patched
def test_rows_of_other_tokens_are_noticed(monkeypatch, model: Model) -> None:
    """Reading and writing agree with each other, but not with the text."""
    read = Context.read
    monkeypatch.setattr(
        Context, "read", lambda self, start, end, **o: read(self, start, end, **o) if end < 24 else _swapped(
            read(self, start, end, **o)
        )
    )  # fmt: skip
    found = selftest.run(model, threads=1)
    assert found.verdict in ("off", "exact")


def _swapped(rows: np.ndarray) -> np.ndarray:
    return np.roll(rows, 1024)


@patched
def test_where_keys_cannot_be_rotated_rows_stay_where_they_were_computed(monkeypatch, model: Model) -> None:
    monkeypatch.setattr(Context, "rotation_supported", property(lambda self: False))
    found = selftest.run(model, threads=1)
    assert (found.verdict, found.why) == ("exact", "the library cannot rotate this model's keys")


def test_without_rows_it_is_off(monkeypatch, model: Model) -> None:
    monkeypatch.setattr(Context, "rows_supported", property(lambda self: False))
    found = selftest.run(model, threads=1)
    assert (found.verdict, found.why) == ("off", "the library cannot place keys and values of this model")


@patched
def test_a_refusal_is_a_verdict(monkeypatch, model: Model) -> None:
    def refuse(self: Context, *args: Any, **options: Any) -> None:
        raise extension.Refused("the rows cannot be read: a sliding window", status=-2)

    monkeypatch.setattr(Context, "read", refuse)
    found = selftest.run(model, threads=1)
    assert (found.verdict, found.why) == ("off", "the rows cannot be read: a sliding window")


def test_any_exception_is_off_and_is_not_remembered(monkeypatch, model: Model, tmp_path: Path) -> None:
    def broken(*args: Any, **options: Any) -> Report:
        raise MemoryError("no room\nsecond line")

    monkeypatch.setattr(selftest, "run", broken)
    found = selftest.check(model, model_key="m", folder=tmp_path, threads=1)
    assert (found.verdict, found.why) == ("off", "the self-test failed: MemoryError: no room")
    assert list(tmp_path.iterdir()) == []


def test_it_runs_once_for_each_model_and_library(monkeypatch, model: Model, tmp_path: Path) -> None:
    runs: list[str] = []

    def once(model: Model, *, threads: int, kind: str) -> Report:
        runs.append(kind)
        return Report(verdict="approximate", why=f"run {len(runs)}")

    monkeypatch.setattr(selftest, "run", once)

    def ask(**changes: Any) -> str:
        arguments = {"model_key": "m", "folder": tmp_path, "threads": 1} | changes
        return selftest.check(model, **arguments).why

    assert [ask(), ask(), ask(threads=2)] == ["run 1"] * 3
    assert ask(model_key="another") == "run 2"
    assert ask(kind="f16") == "run 3"
    monkeypatch.setattr(build, "identity", lambda: "another build")
    assert ask() == "run 4"
    for file in tmp_path.iterdir():
        file.write_text("{")
    assert ask() == "run 5"


@pytest.mark.usefixtures("obedient")
def test_a_folder_that_cannot_be_written_does_not_matter(monkeypatch, model: Model, tmp_path: Path) -> None:
    monkeypatch.setattr(selftest, "run", lambda *args, **options: Report(verdict="approximate", why="fine"))
    tmp_path.chmod(0o500)
    assert selftest.check(model, model_key="m", folder=tmp_path / "x", threads=1).verdict == "approximate"
    tmp_path.chmod(0o700)


def test_a_failing_decode_is_off(monkeypatch, model: Model, tmp_path: Path) -> None:
    def fail(*args: Any, **options: Any) -> None:
        raise EngineError("llama.cpp failed to compute (-3)")

    monkeypatch.setattr(Context, "decode", fail)
    assert selftest.check(model, model_key="m", folder=tmp_path, threads=1).verdict == "off"
