"""Loose positions: tokens computed between others give what computing them in order gives."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tiny_models
from rows import FEATURES, TEXT, opened, split

from engine.errors import EngineError
from engine.runtime import extension
from engine.runtime.context import Aborted, Context
from engine.runtime.llama import Model

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def shared(small_model: Path) -> Iterator[tuple[Model, Context]]:
    with opened(small_model) as both:
        yield both


@pytest.fixture
def context(shared: tuple[Model, Context]) -> Context:
    shared[1].clear()
    return shared[1]


@pytest.fixture(scope="module")
def tokens(shared: tuple[Model, Context]) -> list[int]:
    return shared[0].encode(TEXT, special=False)


def same(left: np.ndarray, right: np.ndarray, context: Context, *, up_to: int) -> bool:
    """Whether the first tokens of two blocks have the same keys and values, to the bit."""
    pairs = zip(split(context, left), split(context, right), strict=True)
    return all(
        np.array_equal(a[0][:up_to], b[0][:up_to]) and np.array_equal(a[1][:up_to], b[1][:up_to])
        for a, b in pairs
    )


def test_a_gap_is_filled_as_if_computed_in_order(context: Context, tokens: list[int]) -> None:
    """What comes later is masked, so the same batch gives the same bits."""
    context.decode(tokens[:50], 0)
    context.decode(tokens[50:60], 50)
    in_order, logits = context.read(0, 60), context.logits().copy()
    context.clear()
    context.decode(tokens[:50], 0)
    context.decode(tokens[60:100], 60)
    context.decode(tokens[50:60], list(range(50, 60)))
    assert same(context.read(0, 100), in_order, context, up_to=60)
    assert np.array_equal(context.logits(), logits)
    assert context.last_position() == 99


def test_recomputing_everything_is_full_attention(context: Context, tokens: list[int]) -> None:
    """Two documents computed apart, placed one after the other, then all their tokens computed again."""
    header, one, other, query = tokens[:8], tokens[8:68], tokens[68:128], tokens[128:140]
    documents, places = [*one, *other], list(range(8, 128))
    context.decode(header, 0)
    context.decode(documents, 8)
    context.decode(query, 128, outputs="all")
    full = context.logits_rows().copy()

    blocks = []
    for document in (one, other):
        context.clear()
        context.decode(header, 0)
        context.decode(document, 8)
        blocks.append(context.read(8, 68))
    context.remove(8)
    for place, rows in zip((8, 68), blocks, strict=True):
        context.write(rows, total=60, first=0, count=60, position=place, delta=place - 8)
    context.decode(query, 128, outputs="all")
    assert not np.array_equal(context.logits_rows(), full)

    context.remove(8)
    for place, rows in zip((8, 68), blocks, strict=True):
        context.write(rows, total=60, first=0, count=60, position=place, delta=place - 8)
    for place in places:
        context.remove(place, place + 1)
    context.decode(documents, places, outputs="none")
    context.decode(query, 128, outputs="all")
    assert np.array_equal(context.logits_rows(), full)


def test_scattered_tokens_are_computed_in_one_batch(tmp_path: Path) -> None:
    """In float32, where the order of a sum is all that differs: half of the tokens again, nothing changes."""
    with opened(tiny_models.rotating(tmp_path / "tiny.gguf", "llama"), context_tokens=256) as (_, context):
        tokens = [int(t) for t in np.random.default_rng(3).integers(0, tiny_models.VOCAB, 120)]
        context.decode(tokens, 0)
        before = split(context, context.read(0, 120))
        chosen = [0, 1, 5, *range(40, 60), 77, *range(90, 120, 3)]
        for place in chosen:
            context.remove(place, place + 1)
        context.decode([tokens[i] for i in chosen], chosen, outputs="none")
        after = split(context, context.read(0, 120))
    for old, new in zip(before, after, strict=True):
        for a, b in zip(old, new, strict=True):
            np.testing.assert_allclose(a.astype(np.float32), b.astype(np.float32), atol=2e-3)


def test_positions_far_away(context: Context, tokens: list[int]) -> None:
    """Cells and positions are independent: only cells are counted."""
    context.decode(tokens[:10], 0)
    context.decode(tokens[10:20], 1_000_000)
    context.decode([tokens[20]], 2**31 - 2)
    assert context.last_position() == 2**31 - 2
    assert context.free_tokens == context.context_tokens - 21
    assert np.isfinite(context.logits()).all()


def test_all_last_or_no_logits(context: Context, tokens: list[int]) -> None:
    context.decode(tokens[:12], 0, outputs="all")
    rows = context.logits_rows()
    assert rows.shape[0] == 12
    assert np.array_equal(context.logits(3), rows[3])
    last = context.logits().copy()
    context.remove(0)
    context.decode(tokens[:12], 0)
    assert context.logits_rows().shape[0] == 1
    assert np.array_equal(context.logits(0), last)
    context.decode(tokens[12:14], 12, outputs="none")
    with pytest.raises(EngineError, match="no logits"):
        context.logits()
    context.decode(tokens[14:16], 14, outputs="all")
    with pytest.raises(IndexError, match="output 2 of 2"):
        context.logits(2)


@pytest.mark.parametrize(
    "positions", [[5, 5], [6, 5], [5], [5, 6, 7], [-1, 5], [5, 2**31 - 1], [5, 2**40], [5, 2**70], -1, 2**40]
)
def test_positions_that_may_not_enter_native_code(context: Context, positions: list[int] | int) -> None:
    context.decode([1, 2], 0)
    with pytest.raises(ValueError, match="position"):
        context.decode([3, 4], positions)
    assert context.last_position() == 1


def test_an_aborted_batch_takes_everything_behind_its_first_token(
    context: Context, tokens: list[int]
) -> None:
    """llama.cpp removes the sequence from there; what is before stays."""
    context.decode(tokens[:20], 0)
    context.decode(tokens[30:50], 30)
    context.abort()
    try:
        with pytest.raises(Aborted):
            context.decode(tokens[20:30], 20)
    finally:
        context.abort(False)
    context.decode(tokens[20:30], 20)
    assert context.last_position() == 49


def test_without_the_feature_positions_follow_one_another(small_model: Path) -> None:
    with opened(small_model, features=FEATURES[1:]) as (model, context):
        tokens = model.encode(TEXT, special=False)
        context.decode(tokens[:10], list(range(10)))
        for positions in (11, 5, [10, 12], [9, 10]):
            with pytest.raises(ValueError, match="position"):
                context.decode(tokens[10:12], positions)
        extension.enable(context.handle)  # all off: llama.cpp itself refuses
        assert extension.enabled(context.handle) == ()
        context.features = FEATURES
        with pytest.raises(EngineError, match="failed to compute"):
            context.decode(tokens[10:12], [10, 12])
