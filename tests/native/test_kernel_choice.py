"""Which of our kernels are on follows from what was measured on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from engine.request import Cancel, Request
from engine.runtime import extension, kernels
from engine.runtime.extension import MATMUL, PACKED
from engine.runtime.kernels import Measured
from engine.runtime.local import LocalEngine
from engine.settings import Settings

FAST, SLOW = (10, 100), (20, 200)

pytestmark = [
    pytest.mark.usefixtures("isolated_home"),
    pytest.mark.skipif(PACKED not in extension.kernels(), reason="no packed weights on this processor"),
]


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    types, names = extension.packed_types(), extension.kernels_on()
    yield
    extension.set_packed_types(*types)
    extension.set_kernels(*names)


def known(ns: dict[str, dict[str, tuple[int, int]]], machine: str = "") -> None:
    kernels._keep(Measured(machine or kernels._machine(), ns))


def test_before_anything_is_measured_all_are_on() -> None:
    assert kernels.measured() is None
    assert kernels.choose() == extension.kernels()
    assert extension.packed_types() == extension.packable()


def test_types_that_are_clearly_slower_packed_stay_in_the_file() -> None:
    known({
        "Q4_0": {"packed": SLOW, "in-place": SLOW, "stock": FAST},
        "Q8_0": {"packed": FAST, "in-place": FAST, "stock": SLOW},
        "Q4_K": {"packed": (105, 1050), "in-place": (100, 1000), "stock": (300, 3000)},
        "Q6_K": {"in-place": FAST, "stock": SLOW},
    })  # fmt: skip
    assert kernels.choose() == extension.kernels()
    packed = extension.packed_types()
    assert "Q4_0" not in packed, "llama.cpp's own is twice as fast"
    assert {"Q8_0", "Q4_K"} <= {*packed}, "a twentieth is no reason"
    assert "Q6_K" not in packed, "it cannot be packed"
    assert "I3_0" in packed, "nobody has measured it"


def test_plain_weights_are_left_to_llama_cpp_where_that_is_faster() -> None:
    known({
        "Q4_0": {"packed": FAST, "in-place": SLOW, "stock": FAST},
        "Q8_0": {"packed": FAST, "in-place": (5, 200), "stock": FAST},
    })  # fmt: skip
    assert MATMUL not in kernels.choose()
    assert PACKED in extension.kernels_on()
    assert kernels.choose("stock") == ()


@pytest.mark.parametrize("content", ["", "{", '{"machine": 3, "ns": {}}'])
def test_a_damaged_file_counts_as_nothing(content: str) -> None:
    known({})
    kernels._file().write_text(content)
    assert kernels.measured() is None
    assert kernels.choose() == extension.kernels()


def test_what_another_machine_measured_does_not_count() -> None:
    known({"Q4_0": {"packed": SLOW, "stock": FAST}}, machine="another")
    kernels.choose()
    assert "Q4_0" in extension.packed_types()


def test_it_is_measured_and_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "_BYTES", 0)
    monkeypatch.setattr(kernels, "_ROUNDS", 1)
    kernels.measure(("I3_0",))
    found = kernels.measured()
    assert found is not None
    assert found.ns.keys() == {"I3_0"}
    assert found.ns["I3_0"].keys() == {*extension.WAYS}
    assert all(took > 0 for pair in found.ns["I3_0"].values() for took in pair)
    again = msgspec.json.decode(kernels._file().read_bytes(), type=Measured)
    assert again == found
    cancel = Cancel()
    cancel.set()
    kernels.measure(("Q4_0",), cancel=cancel)
    assert kernels.measured() == found


@pytest.mark.model
def test_what_a_model_needs_is_measured_once(small_model: Path, default_model: Path) -> None:
    assert kernels.due(small_model) == ("Q4_1", "Q8_0")
    known({"Q8_0": {"packed": FAST, "stock": SLOW}})
    assert kernels.due(small_model) == ("Q4_1",)
    assert kernels.due(default_model) == ("Q5_0", "Q4_K", "Q6_K")


@pytest.mark.model
def test_the_engine_measures_when_it_and_the_machine_are_idle(
    small_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(kernels, "measure", lambda kinds, **_: asked.extend(kinds))
    monkeypatch.setattr(kernels, "machine_rests", lambda: False)
    request = Request("def double(number):\n    return ", "\n")
    with closing(LocalEngine(small_model, n_ctx=256)) as engine:
        assert engine.prepare(request, cancel=Cancel()) == 0
        assert asked == []
        monkeypatch.setattr(kernels, "machine_rests", lambda: True)
        for _ in range(3):
            assert engine.prepare(request, cancel=Cancel()) == 0
    assert asked == ["Q4_1", "Q8_0"]
    with closing(LocalEngine(small_model, n_ctx=256, settings=Settings(kernels="stock"))) as engine:
        engine.prepare(request, cancel=Cancel())
    assert asked == ["Q4_1", "Q8_0"]
