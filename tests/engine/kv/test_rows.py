"""Rows: their layout, their slices, and blocks of q8_0 that are ggml's, byte for byte."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from engine.kv.rows import KINDS, RowKind, Rows, Shape
from tests.engine.kv.made import SHAPE, rows_of


def test_rows_are_layers_of_keys_and_values() -> None:
    rows = rows_of(5)

    assert SHAPE.values == 224
    assert (rows.nbytes, SHAPE.row_bytes("f16"), SHAPE.row_bytes("q8_0")) == (2240, 448, 238)
    tail = rows.slice(3, 2)
    assert (tail.tokens, tail.base, tail.nbytes) == (2, 10, 896)
    keys = rows.data[: 5 * 128].reshape(5, 128)
    values = rows.data[5 * 128 : 5 * 192].reshape(5, 64)
    assert (tail.data[: 2 * 128] == keys[3:].ravel()).all()
    assert (tail.data[2 * 128 : 2 * 192] == values[3:].ravel()).all()


@pytest.mark.parametrize("kind", KINDS)
def test_slices_put_together_are_the_whole(kind: RowKind) -> None:
    rows = rows_of(9, kind=kind)
    parts = [rows.slice(n, 1) for n in range(9)]
    row = SHAPE.row_bytes(kind)
    assert all(part.nbytes == row for part in parts)
    assert rows.slice(2, 5).slice(1, 3).data.tobytes() == rows.slice(3, 3).data.tobytes()
    assert rows.slice(0, 9) is rows


def test_rows_cannot_be_written() -> None:
    rows = rows_of(2)
    with pytest.raises(ValueError, match="read-only"):
        rows.data[0] = 1


def test_q8_0_is_ggmls() -> None:
    from gguf import GGMLQuantizationType, dequantize, quantize

    rows = rows_of(64, shape=Shape(((128, 128),) * 24))
    eight = rows.to("q8_0")

    values = rows.data.view("<f2").astype(np.float32).reshape(-1, 128)
    assert eight.data.tobytes() == quantize(values, GGMLQuantizationType.Q8_0).tobytes()
    back = dequantize(eight.data.reshape(-1, 136), GGMLQuantizationType.Q8_0).astype("<f2")
    assert eight.to("f16").data.tobytes() == back.tobytes()


@given(arrays.arrays(np.float16, 96, elements=st.floats(-65504, 65504, width=16)))
def test_q8_0_is_ggmls_for_any_values(values: np.ndarray) -> None:
    from gguf import GGMLQuantizationType, quantize

    rows = Rows(values.view(np.uint8), 1, 0, "f16", Shape(((64, 32),)))
    expected = quantize(values.astype(np.float32).reshape(1, -1), GGMLQuantizationType.Q8_0)
    assert rows.to("q8_0").data.tobytes() == expected.tobytes()


def test_ties_go_away_from_zero_and_zeros_stay() -> None:
    values = np.zeros((3, 32), dtype="<f2")
    values[0, :5] = 127, 0.5, -0.5, 1.5, -2.5
    values[2, 0] = -65504
    eight = Rows(values.view(np.uint8).ravel(), 3, 0, "f16", Shape(((16, 16),)))
    with pytest.raises(ValueError, match="multiple of 32"):
        eight.to("q8_0")
    eight = Rows(values.view(np.uint8).ravel(), 1, 0, "f16", Shape(((64, 32),))).to("q8_0")
    blocks = eight.data.reshape(3, 34)[:, 2:].view(np.int8)
    assert blocks[0, :6].tolist() == [127, 1, -1, 2, -3, 0]
    assert not blocks[1].any()
    assert blocks[2, 0] == -127


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_what_is_not_finite_is_found(value: float) -> None:
    values = np.ones(224, dtype="<f2")
    assert Rows(values.copy().view(np.uint8), 1, 0, "f16", SHAPE).to("q8_0").finite()
    values[100] = value
    rows = Rows(values.view(np.uint8), 1, 0, "f16", SHAPE)
    assert not rows.finite()
    with pytest.raises(ValueError, match="not finite"):
        rows.to("q8_0")


@pytest.mark.parametrize(
    ("tokens", "base", "size"),
    [(0, 0, 0), (-1, 0, 0), (1, -1, 448), (2, 0, 448), (1, 0, 447), (1, 1 << 31, 448)],
)
def test_rows_of_a_wrong_size_are_refused(tokens: int, base: int, size: int) -> None:
    with pytest.raises(ValueError, match=r"tokens at position|bytes expected"):
        Rows(np.zeros(size, dtype=np.uint8), tokens, base, "f16", SHAPE)


@pytest.mark.parametrize("layers", [(), ((0, 32),), ((32, -1),), ((1 << 21, 32),), ((32, 32),) * 1025])
def test_shapes_no_model_has_are_refused(layers: tuple[tuple[int, int], ...]) -> None:
    with pytest.raises(ValueError, match="can be stored"):
        Shape(layers)


def test_converting_takes_little_beside_the_result() -> None:
    rows = rows_of(256, shape=Shape(((128, 128),) * 24))
    tracemalloc.start()
    eight = rows.to("q8_0")
    extra = tracemalloc.get_traced_memory()[1] - eight.nbytes
    tracemalloc.stop()
    assert extra < 4_000_000
