"""The attention bias: a scalar on the logits that queries pay to a range of cells."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import lowlevel
import numpy as np
import pytest
import tiny_models
from rows import FEATURES, TEXT, opened

from engine.runtime import extension
from engine.runtime.context import Context
from engine.runtime.extension import MASK_BIAS, Refused
from engine.runtime.llama import Model

pytestmark = pytest.mark.model

TOKENS = [int(token) for token in np.random.default_rng(11).integers(0, tiny_models.VOCAB, 80)]


@pytest.fixture(scope="module")
def real(small_model: Path) -> Iterator[tuple[Model, Context]]:
    with opened(small_model) as both:
        yield both


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Context]:
    """Weights in float32, so that only the cells' and the mask's f16 round."""
    path = tiny_models.rotating(tmp_path_factory.mktemp("tiny") / "tiny.gguf", "llama")
    with opened(path, context_tokens=256) as (_, context):
        yield context


def answered(context: Context, tokens: list[int], *, split: int) -> np.ndarray:
    """Logits of all tokens from `split` on, which are one batch behind the others."""
    context.decode(tokens[split:], split, outputs="all")
    rows = context.logits_rows().copy()
    context.remove(split)
    return rows


def prepared(context: Context, tokens: list[int]) -> Context:
    context.clear()
    context.set_bias(0, 0, 0.0)
    context.decode(tokens, 0, outputs="none")
    return context


def test_zero_is_off_to_the_bit(real: tuple[Model, Context]) -> None:
    model, context = real
    tokens = model.encode(TEXT, special=False)[:60]
    prepared(context, tokens[:50])
    off = answered(context, tokens, split=50)
    context.set_bias(10, 40, 0.0)
    assert np.array_equal(answered(context, tokens, split=50), off)
    context.set_bias(10, 40, 0.5)
    assert not np.array_equal(answered(context, tokens, split=50), off)
    context.set_bias(10, 40, 0.0)
    assert np.array_equal(answered(context, tokens, split=50), off)


def test_a_large_negative_bias_removes_the_cells(tiny: Context) -> None:
    prepared(tiny, TOKENS[:60])
    off = answered(tiny, TOKENS, split=60)
    tiny.set_bias(10, 40, -10_000.0)
    hidden = answered(tiny, TOKENS, split=60)
    tiny.set_bias(0, 0, 0.0)
    tiny.remove(10, 40)
    removed = answered(tiny, TOKENS, split=60)
    assert np.abs(removed - off).max() > 20 * np.abs(removed - hidden).max()


@pytest.mark.parametrize("times", [2, 3])
def test_a_bias_of_log_n_is_n_copies_of_the_cells(tiny: Context, times: int) -> None:
    """exp(logit + log n) = n exp(logit): softmax cannot tell the two."""
    prepared(tiny, TOKENS[:60]).set_bias(8, 40, math.log(times))
    biased = answered(tiny, TOKENS, split=60)
    tiny.set_bias(0, 0, 0.0)
    plain = answered(tiny, TOKENS, split=60)
    rows = tiny.read(8, 40)
    for _ in range(times - 1):
        tiny.write(rows, total=32, first=0, count=32, position=8, delta=0)
    copied = answered(tiny, TOKENS, split=60)
    assert np.abs(copied - plain).max() > 20 * np.abs(copied - biased).max()
    np.testing.assert_allclose(biased, copied, atol=2e-3 * np.abs(copied).max())


def test_queries_before_the_end_of_the_range_see_no_bias(tiny: Context) -> None:
    prepared(tiny, TOKENS[:20])
    off = answered(tiny, TOKENS[:40], split=20)
    tiny.set_bias(5, 30, 2.0)
    on = answered(tiny, TOKENS[:40], split=20)
    assert np.array_equal(on[:10], off[:10])  # positions 20 to 29
    assert (np.abs(on[10:] - off[10:]).max(axis=1) > 1e-4).all()


def test_other_sequences_and_contexts_see_their_own(small_model: Path, real: tuple[Model, Context]) -> None:
    model, context = real
    tokens = model.encode(TEXT, special=False)[:40]
    prepared(context, tokens[:30])
    off = answered(context, tokens, split=30)
    with opened(small_model) as (_, other):
        other.set_bias(0, 30, 3.0)
        assert np.array_equal(answered(context, tokens, split=30), off)


def test_without_flash_attention_the_mask_is_float32(small_model: Path) -> None:
    results = []
    with lowlevel.loaded(small_model) as model:
        for flash in (0, 1):
            with lowlevel.Context(model, flash=flash) as context:
                extension.enable(context.handle, MASK_BIAS)
                tokens = context.tokens(TEXT)[:60]
                context.decode(tokens[:50])
                plain = context.decode(tokens[50:], 50)
                context.remove(0, 50, -1)
                extension.set_bias(context.handle, 10, 40, 1.0)
                results.append((plain, context.decode(tokens[50:], 50)))
    (plain, biased), (_, biased_flash) = results
    assert np.corrcoef(biased[0], biased_flash[0])[0, 1] > 0.999
    assert np.abs(biased - biased_flash).max() < 0.5 * np.abs(biased - plain).max()


@pytest.mark.parametrize(
    ("start", "end", "bias"),
    [(-1, 5, 1.0), (5, 4, 1.0), (0, 2**31, 1.0), (0, 5, 10_001.0), (0, 5, float("nan")), (0, 5, -math.inf)],
)
def test_what_may_not_enter_native_code(tiny: Context, start: int, end: int, bias: float) -> None:
    with pytest.raises(ValueError, match=r"bias|positions"):
        tiny.set_bias(start, end, bias)


def test_without_the_feature_there_is_no_bias(small_model: Path) -> None:
    with opened(small_model, features=(FEATURES[0], FEATURES[2])) as (_, context):
        with pytest.raises(Refused, match="not on"):
            context.set_bias(0, 5, 1.0)
        with pytest.raises(Refused, match="not switched on"):
            extension.set_bias(context.handle, 0, 5, 1.0)
