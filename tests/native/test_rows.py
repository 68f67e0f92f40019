"""Rows of the KV cache in and out: what was computed once, at one place, is as good at another."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lowlevel
import numpy as np
import pytest
import rows as reference
import tiny_models
from rows import FEATURES, TEXT, opened, split

from engine.runtime import extension
from engine.runtime.context import Context
from engine.runtime.extension import Refused
from engine.runtime.llama import Model

pytestmark = pytest.mark.model


@pytest.fixture(scope="module", params=["small_model", "default_model"])
def shared(request: pytest.FixtureRequest) -> Iterator[tuple[Model, Context]]:
    """The small model rotates neighbours, the default model halves of a head."""
    with opened(request.getfixturevalue(request.param)) as both:
        yield both


@pytest.fixture
def model(shared: tuple[Model, Context]) -> Model:
    return shared[0]


@pytest.fixture
def context(shared: tuple[Model, Context]) -> Context:
    shared[1].clear()
    shared[1].set_bias(0, 0, 0.0)
    return shared[1]


@pytest.fixture
def tokens(model: Model) -> list[int]:
    return model.encode(TEXT, special=False)


def put(context: Context, rows: np.ndarray, position: int, *, delta: int = 0, **more: Any) -> None:
    """Write the whole block."""
    total = more.pop("total", rows.nbytes // context.row_bytes(more.get("kind", "f16")))
    context.write(rows, total=total, first=0, count=total, position=position, delta=delta, **more)


def test_what_was_read_and_written_back_is_the_same_bytes(context: Context, tokens: list[int]) -> None:
    context.decode(tokens[:100], 0)
    rows = context.read(0, 100)
    assert rows.shape == (100 * context.row_bytes(),)
    context.remove(0)
    assert (context.last_position(), context.free_tokens) == (-1, context.context_tokens)
    put(context, rows, 0)
    assert (context.last_position(), context.free_tokens) == (99, context.context_tokens - 100)
    assert np.array_equal(context.read(0, 100), rows)


def test_the_next_logits_are_as_if_nothing_had_moved(context: Context, tokens: list[int]) -> None:
    """One document, encoded in another sequence behind a copy of the header, then placed behind it."""
    header, document, query = tokens[:10], tokens[10:130], tokens[130:160]
    context.decode(header, 0)
    context.decode(document, 10)
    context.decode(query, 130)
    never_moved = context.logits().copy()

    context.clear()
    context.decode(header, 0)
    context.copy(0, 1, 0, 10)
    context.decode(document, 10, sequence=1, outputs="none")
    rows = context.read(10, 130, sequence=1)
    context.remove(0, sequence=1)
    put(context, rows, 10)
    context.decode(query, 130)
    assert np.array_equal(context.logits(), never_moved)


def test_a_part_of_a_block_goes_anywhere(context: Context, tokens: list[int]) -> None:
    context.decode(tokens[:60], 0)
    rows = context.read(0, 60)
    context.clear()
    context.write(rows, total=60, first=20, count=30, position=500, delta=0)
    parts, whole = split(context, context.read(500, 530)), split(context, rows)
    for (keys, values), (all_keys, all_values) in zip(parts, whole, strict=True):
        assert np.array_equal(keys, all_keys[20:50])
        assert np.array_equal(values, all_values[20:50])


def test_free_cells_are_taken_wherever_they_are(context: Context, tokens: list[int]) -> None:
    context.decode(tokens[:64], 0)
    rows = context.read(0, 64)
    for start in range(0, 64, 4):
        context.remove(start, start + 2)
    scattered = np.concatenate([context.read(start + 2, start + 4) for start in range(0, 64, 4)])
    put(context, rows, 200)
    assert np.array_equal(context.read(200, 264), rows)
    kept = [context.read(start + 2, start + 4) for start in range(0, 64, 4)]
    assert np.array_equal(np.concatenate(kept), scattered)


@pytest.mark.parametrize("delta", [1, -7, 300, 100_000])
def test_keys_are_rotated_as_numpy_rotates_them(context: Context, tokens: list[int], delta: int) -> None:
    context.decode(tokens[:50], 10)
    rows = context.read(10, 60)
    context.clear()
    put(context, rows, 400, delta=delta)
    after = split(context, context.read(400, 450))
    for layer, before, found in zip(
        extension.layers(context.handle), split(context, rows), after, strict=True
    ):
        assert reference.close_in_f16(found[0], reference.rotated(before[0], layer, delta))
        assert np.array_equal(found[1], before[1])


def test_llama_cpps_own_shift_agrees(context: Context, tokens: list[int]) -> None:
    """Its angles are products of float32, so single values may differ by a step."""
    context.decode(tokens[:50], 0)
    rows = context.read(0, 50)
    assert extension.shift_range(context.handle, 0, 0, -1, 77) == 50
    theirs = split(context, context.read(77, 127))
    context.clear()
    put(context, rows, 77, delta=77)
    ours = split(context, context.read(77, 127))
    for (keys, _), (their_keys, _) in zip(ours, theirs, strict=True):
        difference = np.abs(keys.astype(np.float64) - their_keys.astype(np.float64))
        assert (difference <= 2e-3 * np.maximum(1.0, np.abs(their_keys))).all()


def test_scale_and_rotation_are_one_step(context: Context, tokens: list[int]) -> None:
    context.decode(tokens[:20], 0)
    rows = context.read(0, 20)
    for delta in (0, 9):
        context.clear()
        put(context, rows, 100, delta=delta, k_scale=1.25)
        layers = extension.layers(context.handle)
        both = zip(layers, split(context, rows), split(context, context.read(100, 120)), strict=True)
        for layer, before, found in both:
            exact = 1.25 * reference.rotated(before[0], layer, delta)
            assert reference.close_in_f16(found[0], exact)
            assert np.array_equal(found[1], before[1])


def test_moved_rows_give_nearly_the_logits_of_rows_computed_there(
    context: Context, tokens: list[int]
) -> None:
    """Relative positions are all that RoPE knows: a text 200 positions on is the same text."""
    context.decode(tokens[:100], 0)
    rows, here = context.read(0, 100), context.logits().copy()
    context.clear()
    put(context, rows, 200, delta=200)
    context.remove(299)
    context.decode(tokens[99:100], 299)
    moved = context.logits().copy()
    assert np.corrcoef(moved, here)[0, 1] > 0.999
    assert moved.argmax() == here.argmax()


def test_q8_0_rows_are_half_as_long_and_nearly_as_good(context: Context, tokens: list[int]) -> None:
    context.decode(tokens[:64], 0)
    rows = context.read(0, 64)
    packed = context.read(0, 64, kind="q8_0")
    assert packed.nbytes == context.row_bytes("q8_0") * 64 < 0.54 * rows.nbytes
    context.clear()
    put(context, packed, 0, kind="q8_0")
    assert np.array_equal(context.read(0, 64), unpacked(packed))
    # Half a step of 1/127 of a block's largest value, and f16's rounding of scale and result.
    found, exact = unpacked(packed).view(np.float16), rows.view(np.float16)
    largest = np.abs(exact.astype(np.float32)).reshape(-1, 32).max(axis=1).repeat(32)
    assert (np.abs(found.astype(np.float32) - exact) <= largest * 0.0052).all()


def unpacked(rows: np.ndarray) -> np.ndarray:
    """q8_0 rows as f16 rows: blocks of an f16 scale and 32 signed bytes, in the order of the values."""
    blocks = rows.view(np.dtype([("scale", "<f2"), ("values", "i1", 32)]))
    values = blocks["scale"].astype(np.float32)[:, None] * blocks["values"].astype(np.float32)
    return values.astype(np.float16).reshape(-1).view(np.uint8)


def test_q8_0_rows_are_rotated_too(context: Context, tokens: list[int]) -> None:
    context.decode(tokens[:40], 0)
    packed = context.read(0, 40, kind="q8_0")
    layers = extension.layers(context.handle)
    context.clear()
    context.write(packed, total=40, first=10, count=30, position=60, delta=50, kind="q8_0", k_scale=0.5)
    blocks = packed.view(np.dtype([("scale", "<f2"), ("values", "i1", 32)]))
    exact_values = blocks["scale"].astype(np.float64)[:, None] * blocks["values"]
    at = 0
    for layer, (keys, _) in zip(layers, split(context, context.read(60, 90)), strict=True):
        size = 40 * layer.k_width // 32
        before = exact_values[at : at + size].reshape(40, -1)[10:]
        at += size + 40 * layer.v_width // 32
        assert reference.close_in_f16(keys, 0.5 * reference.rotated(before, layer, 50))


def test_a_pending_shift_is_applied_before_reading(context: Context, tokens: list[int]) -> None:
    context.decode(tokens[:30], 0)
    extension.shift_range(context.handle, 0, 10, -1, 5)
    expected = context.read(15, 35)
    context.clear()
    context.decode(tokens[:30], 0)
    lowlevel.llama_cpp.llama_memory_seq_add(context._memory, 0, 10, -1, 5)
    assert np.array_equal(context.read(15, 35), expected)


def test_sequences_keep_their_rows_apart(context: Context, tokens: list[int]) -> None:
    context.decode(tokens[:20], 0)
    context.decode(tokens[20:40], 0, sequence=1)
    one, other = context.read(0, 20), context.read(0, 20, sequence=1)
    assert not np.array_equal(one, other)
    context.remove(0, sequence=1)
    put(context, one, 0, sequence=2)
    assert np.array_equal(context.read(0, 20, sequence=2), one)
    assert np.array_equal(context.read(0, 20), one)
    assert context.last_position(1) == -1


def test_reading_needs_each_position_once(context: Context, tokens: list[int]) -> None:
    context.decode(tokens[:20], 0)
    rows = context.read(0, 20)
    for start, end in ((15, 25), (30, 40), (0, 21)):
        with pytest.raises(Refused, match="no cell, or several"):
            context.read(start, end)
    put(context, rows, 0)  # a second time: allowed, documents may share their base
    with pytest.raises(Refused, match="no cell, or several"):
        context.read(5, 6)
    assert context.read(5, 5).size == 0


def test_too_little_room_changes_nothing(context: Context, tokens: list[int]) -> None:
    context.decode(tokens[:100], 0)
    rows = context.read(0, 100)
    while context.free_tokens >= 100:
        put(context, rows, context.last_position() + 1)
    free, last = context.free_tokens, context.last_position()
    with pytest.raises(Refused, match="too few free cells"):
        put(context, rows, last + 1)
    assert (context.free_tokens, context.last_position()) == (free, last)
    assert np.array_equal(context.read(0, 100), rows)
    context.write(rows, total=100, first=0, count=free, position=last + 1, delta=0)
    assert context.free_tokens == 0


BAD: list[tuple[dict[str, Any], type[Exception]]] = [
    ({"total": 11}, ValueError),
    ({"total": -1}, ValueError),
    ({"first": -1}, ValueError),
    ({"count": -1}, ValueError),
    ({"count": 11}, ValueError),
    ({"first": 5, "count": 6}, ValueError),
    ({"first": 2**40}, ValueError),
    ({"position": -1}, ValueError),
    ({"position": 2**31 - 5}, ValueError),
    ({"delta": 2**31}, ValueError),
    ({"delta": -(2**31)}, ValueError),
    ({"sequence": 3}, IndexError),
    ({"sequence": -1}, IndexError),
    ({"kind": "q4_0"}, ValueError),
    ({"kind": "q8_0"}, ValueError),
    ({"k_scale": 0.0}, ValueError),
    ({"k_scale": -1.0}, ValueError),
    ({"k_scale": float("nan")}, ValueError),
    ({"k_scale": float("inf")}, ValueError),
    ({"k_scale": 1e-60}, ValueError),
]


@pytest.mark.parametrize(("change", "error"), BAD)
def test_what_would_crash_native_code_is_refused(
    context: Context, tokens: list[int], change: dict[str, Any], error: type[Exception]
) -> None:
    context.decode(tokens[:10], 0)
    rows = context.read(0, 10)
    arguments = {"total": 10, "first": 0, "count": 10, "position": 10, "delta": 0} | change
    with pytest.raises(error):
        context.write(rows, **arguments)
    assert context.last_position() == 9
    assert np.array_equal(context.read(0, 10), rows)


def test_a_buffer_of_another_shape_is_refused(context: Context, tokens: list[int]) -> None:
    context.decode(tokens[:10], 0)
    rows = context.read(0, 10)
    whole = {"total": 10, "first": 0, "count": 10, "position": 20, "delta": 0}
    for wrong in (rows[:-1], rows[::-1], rows.view(np.float16), np.zeros(0, np.uint8)):
        with pytest.raises(ValueError, match="contiguous bytes"):
            context.write(wrong, **whole)
    shifted = np.empty(rows.size + 1, np.uint8)[1:]  # at an odd address
    shifted[:] = rows
    context.write(shifted, **whole)
    assert np.array_equal(context.read(20, 30), rows)


def test_any_arguments_end_in_an_error_or_in_order(context: Context, tokens: list[int]) -> None:
    """3,000 random calls; the cells that were there keep their bytes."""
    random = np.random.default_rng(5)
    context.decode(tokens[:40], 0)
    rows = context.read(0, 40)
    edges = [-(2**31), -1, 0, 1, 2, 5, 39, 40, 41, 255, 1024, 2**31 - 1, 2**31, 2**63]
    done = refused = 0
    for _ in range(3000):
        pick = [
            int(random.choice(edges[:-1])) if random.random() < 0.5 else int(random.integers(0, 41))
            for _ in range(6)
        ]
        try:
            if random.random() < 0.4:
                context.read(pick[0], pick[1], sequence=pick[2] % 5 - 1)
            else:
                context.write(
                    rows, total=40, first=pick[0], count=pick[1], position=100 + pick[2], delta=pick[3],
                    k_scale=float(random.choice([1.0, 0.5, 0.0, np.nan])), sequence=1,
                )  # fmt: skip
            done += 1
        except (ValueError, IndexError, Refused):
            refused += 1
        context.remove(0, sequence=1)
    assert min(done, refused) > 50
    assert np.array_equal(context.read(0, 40), rows)


def test_without_the_feature_nothing_is_read_or_written(small_model: Path) -> None:
    with opened(small_model, features=()) as (_, context):
        assert not context.rows_supported
        assert not context.rotation_supported
        for call in (lambda: context.read(0, 0), lambda: context.row_bytes(), lambda: context.row_widths()):
            with pytest.raises(Refused, match="not on"):
                call()


@pytest.mark.parametrize("kind", [tiny_models.sliding_window, tiny_models.recurrent])
def test_memories_that_are_not_one_cache_have_no_rows(tmp_path: Path, kind: Any) -> None:
    with (
        lowlevel.loaded(kind(tmp_path / "tiny.gguf")) as tiny,
        lowlevel.Context(tiny, n_ctx=64, flash=-1) as context,
    ):
        for feature in FEATURES:
            with pytest.raises(Refused, match="not one plain KV cache"):
                extension.enable(context.handle, feature)
        assert extension.enabled(context.handle) == ()
        with pytest.raises(Refused, match="not one plain KV cache"):
            extension.row_bytes(context.handle, "f16")
        assert np.isfinite(context.decode([1, 2, 3])).all()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"type_k": lowlevel.Q8_0}, "f16 keys and untransposed f16 values"),
        ({"type_v": lowlevel.Q8_0}, "f16 keys and untransposed f16 values"),
        ({"type_k": lowlevel.F32}, "f16 keys and untransposed f16 values"),
        ({"flash": 0}, "f16 keys and untransposed f16 values"),
        ({"unified": False, "n_seq_max": 2}, "one stream per sequence"),
    ],
)
def test_other_cells_have_no_rows(small_model: Path, options: dict[str, Any], said: str) -> None:
    with lowlevel.loaded(small_model) as model, lowlevel.Context(model, **options) as context:
        with pytest.raises(Refused, match=said):
            extension.row_bytes(context.handle, "f16")
        context.decode(context.tokens(TEXT)[:20])


def test_rows_of_a_model_whose_keys_cannot_move_stay_where_they_were(small_model: Path) -> None:
    """YaRN changes the magnitude of keys, so they are only written where they were computed."""
    options = {"rope_scaling_type": 2, "rope_freq_scale": 0.5}
    with lowlevel.loaded(small_model) as model, lowlevel.Context(model, **options) as context:
        extension.enable(context.handle, extension.KV_ROWS)
        context.decode(context.tokens(TEXT)[:20])
        size = extension.row_bytes(context.handle, "f16") * 20
        rows = np.empty(size, np.uint8)
        extension.read_rows(context.handle, 0, 0, 20, "f16", rows.ctypes.data, size)
        block: dict[str, Any] = {"count": 20, "first": 0, "total": 20, "k_scale": 1.0, "kind": "f16"}
        block |= {"source": rows.ctypes.data, "size": size}
        with pytest.raises(Refused, match="cannot be moved by a rotation"):
            extension.write_rows(context.handle, 1, 5, delta=5, **block)
        extension.write_rows(context.handle, 1, 0, delta=0, **block)
        again = np.empty(size, np.uint8)
        extension.read_rows(context.handle, 1, 0, 20, "f16", again.ctypes.data, size)
    assert np.array_equal(again, rows)


FACTORS = np.linspace(1.0, 8.0, 16).astype(np.float32)


@pytest.mark.parametrize(
    ("architecture", "factors", "n_rot"),
    [("llama", None, 32), ("llama", FACTORS, 32), ("chatglm", None, 16), ("stablelm", None, 16)],
)
def test_partial_rotation_and_frequency_factors(
    tmp_path: Path, architecture: str, factors: np.ndarray | None, n_rot: int
) -> None:
    """Half of each head rotated; each pair's frequency divided by a factor (Llama 3's long contexts)."""
    path = tiny_models.rotating(tmp_path / "tiny.gguf", architecture, factors=factors)
    with lowlevel.loaded(path) as model, lowlevel.Context(model, n_ctx=64) as context:
        extension.enable(context.handle, extension.KV_ROWS)
        context.decode([1, 2, 3, 4, 5])
        layers = extension.layers(context.handle)
        before = context.cells()
        size = extension.row_bytes(context.handle, "f16") * 5
        rows = np.empty(size, np.uint8)
        extension.read_rows(context.handle, 0, 0, 5, "f16", rows.ctypes.data, size)
        extension.write_rows(
            context.handle, 1, 30, count=5, first=0, total=5, delta=30, k_scale=1.0, kind="f16",
            source=rows.ctypes.data, size=size,
        )  # fmt: skip
        after = context.cells(1)
    assert {(layer.n_rot, layer.k_head, layer.factors != 0) for layer in layers} == {
        (n_rot, 32, factors is not None)
    }
    for layer, old, new in zip(layers, before.keys, after.keys, strict=True):
        exact = reference.rotated(
            old.view(np.float16), layer, 30, np.float64(1.0) if factors is None else factors
        )
        assert reference.close_in_f16(new.view(np.float16), exact)
        assert np.array_equal(new.view(np.float16)[:, n_rot:], old.view(np.float16)[:, n_rot:])


def test_identity_names_what_rows_depend_on(shared: tuple[Model, Context]) -> None:
    facts = shared[1].identity()
    assert facts["library"] == extension.version()
    assert {"layers", "k_width", "v_width", "n_rot", "rope_type", "freq_base", "k_type"} <= facts.keys()
    assert all(isinstance(value, str | int | float) for value in facts.values())
    assert str(facts["k_width"]).startswith(f"{facts['layers']}x")
