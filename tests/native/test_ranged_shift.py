"""The ranged K-shift moves its range exactly as llama.cpp does, touches nothing else, refuses the rest."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lowlevel
import numpy as np
import pytest
import tiny_models
from lowlevel import KEY_TYPES, TEXT, Cells, Context

from engine.runtime import extension
from engine.runtime.extension import RANGED_SHIFT, Refused

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def model(small_model: Path) -> Iterator[Any]:
    with lowlevel.loaded(small_model) as opened:
        yield opened


def switch(context: Context, *, ranged: bool) -> Context:
    extension.enable(context.handle, *([RANGED_SHIFT] if ranged else []))
    return context


def prompt(context: Context) -> list[int]:
    return context.tokens(TEXT)[:64]


def same(left: Cells, right: Cells, which: np.ndarray | slice = slice(None)) -> bool:
    """Whether positions, keys and values of these cells are the same bytes."""
    rows = zip([*left.keys, *left.values], [*right.keys, *right.values], strict=True)
    return bool((left.positions[which] == right.positions[which]).all()) and all(
        bool((a[which] == b[which]).all()) for a, b in rows
    )


def shifted(
    model: Any, *, ranged: bool, p0: int, p1: int, delta: int, **options: Any
) -> tuple[Cells, Cells, np.ndarray]:
    """Cells before and after, and the logits of the next token."""
    with switch(Context(model, **options), ranged=ranged) as context:
        tokens = prompt(context)
        context.decode(tokens)
        before = context.cells()
        moved = extension.shift_range(context.handle, 0, p0, p1, delta)
        after = context.cells()
        last = len(tokens) if p1 < 0 else p1
        assert moved == min(last, len(tokens)) - max(p0, 0)
        return before, after, context.decode(tokens[:1], int(after.positions.max()) + 1)


@pytest.mark.parametrize(
    ("keys", "delta"),
    [("f16", 1), ("f16", -3), ("f16", 40), ("q8_0", -3), ("q8_0", 40), ("q4_0", 1), ("f32", 1)],
)
def test_the_ranged_shift_is_the_full_shift_on_its_range(model: Any, keys: str, delta: int) -> None:
    kind = KEY_TYPES[keys]
    before, full, full_logits = shifted(model, ranged=False, p0=40, p1=-1, delta=delta, type_k=kind)
    _, ranged, ranged_logits = shifted(model, ranged=True, p0=40, p1=-1, delta=delta, type_k=kind)
    moved, rest = slice(40, None), slice(0, 40)
    assert same(ranged, full, moved)
    assert same(ranged, before, rest)
    assert np.array_equal(ranged_logits, full_logits)
    assert not np.array_equal(ranged.keys[0][moved], before.keys[0][moved])


def test_a_range_in_the_middle_leaves_both_sides_alone(model: Any) -> None:
    before, after, _ = shifted(model, ranged=True, p0=30, p1=50, delta=2, type_k=lowlevel.Q8_0)
    rest = np.r_[0:30, 50 : len(before.positions)]
    assert same(after, before, rest)
    assert (after.positions[30:50] == before.positions[30:50] + 2).all()
    assert all(np.array_equal(a, b) for a, b in zip(after.values, before.values, strict=True))


def test_bf16_keys_work_where_llama_cpp_aborts(model: Any) -> None:
    """There is no rope kernel for bf16, so the full shift would end the process: it is refused."""
    before, there, _ = shifted(model, ranged=True, p0=40, p1=60, delta=5, type_k=lowlevel.BF16)
    assert same(there, before, slice(0, 40))
    with pytest.raises(Refused, match="cannot be moved by a rotation"):
        shifted(model, ranged=False, p0=40, p1=60, delta=5, type_k=lowlevel.BF16)


def test_quantised_keys_without_hadamard(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """llama.cpp follows a null pointer here."""
    monkeypatch.setenv("LLAMA_ATTN_ROT_DISABLE", "1")
    before, after, logits = shifted(model, ranged=True, p0=40, p1=60, delta=5, type_k=lowlevel.Q8_0)
    assert same(after, before, slice(0, 40))
    assert np.isfinite(logits).all()
    with pytest.raises(Refused, match="cannot be moved by a rotation"):
        shifted(model, ranged=False, p0=40, p1=60, delta=5, type_k=lowlevel.Q8_0)


def test_keys_end_up_where_they_would_have_been_computed(model: Any) -> None:
    """The first layer's keys depend on token and position only, so they can be compared but for rounding."""
    with switch(Context(model, type_k=lowlevel.F32), ranged=True) as context:
        tokens = prompt(context)
        context.decode(tokens, 100)
        there = context.cells()
        context.remove(0, -1, -1)
        context.decode(tokens)
        assert extension.shift_range(context.handle, 0, -1, -1, 100) == len(tokens)
        here = context.cells()
    assert (here.positions == there.positions).all()
    np.testing.assert_allclose(here.keys[0].view(np.float32), there.keys[0].view(np.float32), atol=1e-4)


def test_without_flash_attention(model: Any) -> None:
    """Values are stored transposed then; keys are not."""
    logits = [shifted_logits(model, ranged=ranged) for ranged in (False, True)]
    assert np.array_equal(*logits)


def shifted_logits(model: Any, *, ranged: bool) -> np.ndarray:
    with switch(Context(model, flash=0), ranged=ranged) as context:
        tokens = prompt(context)
        context.decode(tokens)
        extension.shift_range(context.handle, 0, 40, -1, 5)
        return context.decode(tokens[:1], len(tokens) + 5)


def test_cells_scattered_over_the_cache(model: Any) -> None:
    """Two sequences decoded in turns: every other cell moves."""
    results = []
    for ranged in (False, True):
        with switch(Context(model), ranged=ranged) as context:
            tokens = prompt(context)[:40]
            for i, token in enumerate(tokens):
                context.decode([token], i, seq=0)
                context.decode([token], i, seq=1)
            other = context.cells(1)
            assert extension.shift_range(context.handle, 0, 10, 30, 3) == 20
            results.append((context.cells(0), context.decode(tokens[:1], 40)))
            assert same(context.cells(1), other)
    assert same(results[0][0], results[1][0], slice(0, 40))
    assert np.array_equal(results[0][1], results[1][1])


@pytest.mark.parametrize("keys", ["f16", "q8_0"])
def test_llama_cpps_own_call_takes_the_ranged_way_when_switched_on(model: Any, keys: str) -> None:
    results = []
    for ranged in (False, True):
        with switch(Context(model, type_k=KEY_TYPES[keys]), ranged=ranged) as context:
            tokens = prompt(context)
            context.decode(tokens)
            context.add(0, 20, 30, 4)
            context.add(0, 50, -1, 9)  # two ranges, applied together by the next decode
            logits = context.decode(tokens[:1], len(tokens) + 9)
            results.append((context.cells(), logits))
    assert same(*(cells for cells, _ in results))
    assert np.array_equal(results[0][1], results[1][1])


@pytest.mark.parametrize("ranged", [False, True])
def test_a_pending_shift_is_applied_along(model: Any, ranged: bool) -> None:
    results = []
    for pending in (False, True):
        with switch(Context(model), ranged=ranged) as context:
            tokens = prompt(context)
            context.decode(tokens)
            if pending:
                context.add(0, 20, 30, 4)
            else:
                extension.shift_range(context.handle, 0, 20, 30, 4)
            extension.shift_range(context.handle, 0, 50, -1, 9)
            results.append(context.cells())
    assert same(*results)


def test_a_context_that_aborts_decodes_still_shifts(model: Any) -> None:
    """Half a shift would leave keys that belong nowhere."""
    stop = lowlevel.llama_cpp.ggml_abort_callback(lambda _: True)
    with switch(Context(model), ranged=True) as context:
        tokens = prompt(context)
        context.decode(tokens)
        before = context.cells()
        lowlevel.llama_cpp.llama_set_abort_callback(context.handle, stop, ctypes.c_void_p(0))
        extension.shift_range(context.handle, 0, 40, -1, 5)
        after = context.cells()
    _, expected, _ = shifted(model, ranged=True, p0=40, p1=-1, delta=5)
    assert same(after, expected)
    assert not same(after, before)


@pytest.mark.parametrize("ranged", [False, True])
@pytest.mark.parametrize(
    ("seq", "p0", "p1", "delta", "said"),
    [
        (-1, 0, 5, 1, "invalid argument"),
        (100_000, 0, 5, 1, "invalid argument"),
        (0, 5, 4, 1, "invalid argument"),
        (0, 13, 15, -14, "negative or too large"),
        (0, 13, 15, 2**31 - 15, "negative or too large"),
        (1, 0, 20, 1, "shared with another sequence"),
    ],
)
def test_a_refusal_changes_nothing(
    model: Any, ranged: bool, seq: int, p0: int, p1: int, delta: int, said: str
) -> None:
    with switch(Context(model), ranged=ranged) as context:
        context.decode(prompt(context))
        context.copy(0, 1, 0, 10)
        before = context.cells()
        with pytest.raises(Refused, match=said):
            extension.shift_range(context.handle, seq, p0, p1, delta)
        assert same(context.cells(), before)


@pytest.mark.parametrize("ranged", [False, True])
def test_nothing_to_move_is_no_error(model: Any, ranged: bool) -> None:
    with switch(Context(model), ranged=ranged) as context:
        context.decode(prompt(context))
        before = context.cells()
        for seq, p0, p1, delta in ((0, 3, 3, 1), (0, 400, -1, 1), (3, 0, -1, 1), (0, 0, -1, 0)):
            assert extension.shift_range(context.handle, seq, p0, p1, delta) == 0
        assert same(context.cells(), before)


YARN = 2  # LLAMA_ROPE_SCALING_TYPE_YARN


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"unified": False, "n_seq_max": 2}, "one stream per sequence"),
        ({"rope_scaling_type": YARN, "rope_freq_scale": 0.5}, "cannot be moved by a rotation"),
    ],
)
def test_contexts_it_cannot_serve_are_refused(model: Any, options: dict[str, Any], said: str) -> None:
    with switch(Context(model, **options), ranged=True) as context:
        tokens = prompt(context)
        context.decode(tokens)
        with pytest.raises(Refused, match=said):
            extension.shift_range(context.handle, 0, 10, -1, 1)
        context.add(0, 10, -1, 1)  # llama.cpp's own shift still runs
        assert np.isfinite(context.decode(tokens[:1], len(tokens) + 1)).all()


@pytest.mark.parametrize("kind", [tiny_models.sliding_window, tiny_models.recurrent])
def test_memories_that_are_not_one_cache_are_refused(tmp_path: Path, kind: Any) -> None:
    with (
        lowlevel.loaded(kind(tmp_path / "tiny.gguf")) as tiny,
        switch(Context(tiny, n_ctx=64, flash=-1), ranged=True) as context,
    ):
        context.decode([1, 2, 3])
        with pytest.raises(Refused, match="not one plain KV cache"):
            extension.shift_range(context.handle, 0, 1, -1, 1)
        assert np.isfinite(context.decode([4], 3)).all()


def test_switches_belong_to_one_context_and_start_off(model: Any) -> None:
    with Context(model, n_ctx=256) as one, Context(model, n_ctx=256) as other:
        extension.enable(one.handle, RANGED_SHIFT)
        assert extension.enabled(one.handle) == (RANGED_SHIFT,)
        assert extension.enabled(other.handle) == ()
        address = one.handle
    extension_after_close = extension.enabled(address)  # only a number by now: it is looked up, not followed
    assert extension_after_close == ()
