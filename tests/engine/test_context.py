"""A context is what the library and the model's memory allow, and says so."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.errors import EngineStopped, EngineUnavailable
from engine.runtime import extension
from engine.runtime.context import Context
from engine.runtime.extension import Refused
from engine.runtime.llama import Model

sys.path.append(str(Path(__file__).resolve().parents[1] / "native"))
import tiny_models

FEATURES = (extension.LOOSE_POSITIONS, extension.MASK_BIAS, extension.KV_ROWS)

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def model(small_model: Path) -> Iterator[Model]:
    model = Model(small_model)
    yield model
    model.close()


@pytest.fixture
def context(model: Model) -> Iterator[Context]:
    context = Context(
        model, context_tokens=512, batch_tokens=32, threads=2, sequences=2, outputs=8, features=FEATURES
    )
    yield context
    context.close()


@pytest.fixture
def stock(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a llama-cpp-python without our functions."""
    monkeypatch.setattr(extension, "_library", lambda: None)


def open_context(model: Model, **options: Any) -> Context:
    return Context(model, context_tokens=256, batch_tokens=32, threads=1, **options)


def test_features_are_on_from_the_start(context: Context) -> None:
    assert context.features == FEATURES
    assert context.rows_supported
    assert context.rotation_supported


def test_without_asking_nothing_is_on(model: Model) -> None:
    context = open_context(model)
    assert context.features == ()
    assert not context.rows_supported
    with pytest.raises(ValueError, match="does not follow"):
        context.decode([1], 7)
    context.close()


def test_on_a_stock_library_the_context_works_without(model: Model, stock: None) -> None:
    context = open_context(model, sequences=2, features=FEATURES)
    context.decode([1, 2, 3], 0)
    context.copy(0, 1, 0, 3)
    context.decode([4], 3, sequence=1)
    assert context.features == ()
    assert not context.rows_supported
    assert not context.rotation_supported
    assert context.free_tokens == context.context_tokens - 7  # shared cells counted twice: never too many
    for call in (context.row_bytes, context.row_widths):
        with pytest.raises(Refused, match="not on"):
            call()
    with pytest.raises(EngineUnavailable, match="stock one"):
        context.identity()
    context.close()


@pytest.mark.parametrize("kind", [tiny_models.sliding_window, tiny_models.recurrent])
def test_other_memories_leave_the_features_off(tmp_path: Path, kind: Any) -> None:
    model = Model(kind(tmp_path / "tiny.gguf"))
    context = open_context(model, features=(*FEATURES, extension.RANGED_SHIFT))
    assert context.features == (extension.RANGED_SHIFT,)
    assert not context.rows_supported
    context.decode([1, 2, 3], 0)
    assert np.isfinite(context.logits()).all()
    assert context.free_tokens == context.context_tokens - 3
    context.close()
    model.close()


def test_as_many_outputs_as_it_was_made_for(context: Context) -> None:
    context.decode(range(8), 0, outputs="all")
    assert context.logits_rows().shape == (8, context.logits().size)
    with pytest.raises(ValueError, match="9 outputs of a context made for 8"):
        context.decode(range(9), 8, outputs="all")
    with pytest.raises(ValueError, match="outputs 'some'"):
        context.decode([1], 8, outputs="some")  # type: ignore[arg-type]
    assert context.logits_rows().shape[0] == 8


def test_threads_can_change_between_decodes(context: Context) -> None:
    context.decode([1, 2, 3], 0)
    expected = context.logits().copy()
    for threads in (1, 2, 0):
        context.remove(0)
        context.set_threads(threads)
        context.decode([1, 2, 3], 0)
        np.testing.assert_allclose(context.logits(), expected, atol=1e-3)


def test_free_tokens_are_cells_not_positions(context: Context) -> None:
    context.decode(range(10), 0)
    context.copy(0, 1, 0, 10)
    assert context.free_tokens == context.context_tokens - 10
    context.remove(0)
    assert context.free_tokens == context.context_tokens - 10
    context.remove(5, 7, sequence=1)
    assert context.free_tokens == context.context_tokens - 8


def test_a_closed_context_is_refused(model: Model) -> None:
    context = open_context(model, features=FEATURES)
    context.close()
    rows = np.zeros(0, np.uint8)
    for call in (
        lambda: context.read(0, 1),
        lambda: context.write(rows, total=0, first=0, count=0, position=0, delta=0),
        lambda: context.set_bias(0, 1, 0.5),
        lambda: context.set_threads(1),
        lambda: context.row_bytes(),
        lambda: context.identity(),
        lambda: context.free_tokens,
        lambda: context.logits_rows(),
        lambda: context.rows_supported,
        lambda: context.rotation_supported,
    ):
        with pytest.raises(EngineStopped):
            call()
