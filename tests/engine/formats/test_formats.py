"""Steerway's weight types in numpy: the bytes that the native library writes, and nothing else accepted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from engine.formats import FORMATS, I3_0, S24_0, FormatError, register

GOLDEN = json.loads((Path(__file__).parents[2] / "native/golden-types.json").read_text())["blocks"]
OWN = [S24_0, I3_0]
ALL = list(FORMATS.values())
MASKS = [(i0, i1) for i1 in range(4) for i0 in range(i1)]


def by_name(value: object) -> str:
    return str(getattr(value, "name", value))


@pytest.mark.parametrize("block", GOLDEN, ids=lambda block: f"{block['type']}-{block['case']}")
def test_the_bytes_are_the_native_librarys(block: dict) -> None:
    grid = FORMATS[block["type"]]
    weights = np.frombuffer(bytes.fromhex(block["weights"]), "<f4")[None]
    importance = block["importance"] and np.frombuffer(bytes.fromhex(block["importance"]), "<f4")[None]
    assert grid.encode(weights, importance).tobytes().hex() == block["bytes"]


@pytest.mark.parametrize("block", GOLDEN, ids=lambda block: f"{block['type']}-{block['case']}")
def test_bytes_mean_what_they_mean_to_the_native_library(block: dict) -> None:
    data = np.frombuffer(bytes.fromhex(block["bytes"]), np.uint8)[None]
    decoded = FORMATS[block["type"]].decode(data)[0]
    assert decoded.tolist() == [float.fromhex(value) for value in block["values"]]


blocks = arrays(
    np.float32,
    (2, 128),
    elements=st.floats(-8, 8, width=32) | st.just(0.0) | st.sampled_from([1e-30, 6e4, -3e5]),
)


@pytest.mark.parametrize("grid", ALL, ids=by_name)
@given(weights=blocks)
@settings(max_examples=40, deadline=None)
def test_what_is_encoded_is_canonical_and_near(grid, weights: np.ndarray) -> None:
    data = grid.encode(weights)
    assert data.shape == (2, 128 // grid.block * grid.block_bytes)
    assert grid.pack(*grid.unpack(data)).tobytes() == data.tobytes()
    decoded = grid.decode(data)
    assert ((decoded.reshape(-1, 4) != 0).sum(1) <= grid.kept).all()
    if np.abs(weights).max() <= 8:
        assert np.square(decoded - weights).sum() <= np.square(weights.astype(np.float64)).sum() + 1e-9


@pytest.mark.parametrize("grid", ALL, ids=by_name)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_block_that_is_not_finite_becomes_zeros(grid, bad: float) -> None:
    weights = np.ones((1, 128), np.float32)
    weights[0, 3] = bad
    decoded = grid.decode(grid.encode(weights))[0]
    assert not decoded[: grid.block].any()
    assert decoded[grid.block :].any()


def test_every_pair_of_places_and_values_comes_back() -> None:
    """6 masks x 256 pairs of values: 1536 groups in 96 blocks."""
    pairs = [(mask, (a, b)) for mask in MASKS for a in range(-8, 8) for b in range(-8, 8)]
    indices = np.array([mask for mask, _ in pairs]).reshape(8, -1, 16, 2)
    values = np.array([value for _, value in pairs]).reshape(8, -1, 16, 2)
    scale = np.full((8, 12), 0.5, np.float16)
    found = S24_0.unpack(S24_0.pack(indices, values, scale))
    for got, given_ in zip(found, (indices, values, scale), strict=True):
        assert (got == given_).all()


@pytest.mark.parametrize("byte", range(256))
def test_of_all_bytes_of_indices_only_those_in_order_are_read(byte: int) -> None:
    data = S24_0.encode(np.ones((1, 64), np.float32))
    data[0, 5] = byte
    valid = all((byte >> shift & 3) < (byte >> shift + 2 & 3) for shift in (0, 4))
    if valid:
        assert S24_0.decode(data).shape == (1, 64)
    else:
        with pytest.raises(FormatError, match="block 0, group"):
            S24_0.decode(data)


@pytest.mark.parametrize("grid", ALL, ids=by_name)
def test_a_scale_that_is_not_finite_is_refused(grid) -> None:
    data = grid.encode(np.ones((1, 128), np.float32))
    data[0, :2] = (0x00, 0x7C)
    with pytest.raises(FormatError, match="infinity or NaN"):
        grid.decode(data)


@pytest.mark.parametrize("grid", ALL, ids=by_name)
def test_what_does_not_fit_is_refused_in_one_line(grid) -> None:
    with pytest.raises(FormatError, match="multiple of"):
        grid.encode(np.ones((2, 65), np.float32))
    with pytest.raises(FormatError, match="whole blocks"):
        grid.decode(np.zeros((2, grid.block_bytes + 1), np.uint8))
    parts = list(grid.unpack(grid.encode(np.ones((1, 128), np.float32))))
    with pytest.raises(FormatError, match="outside of"):
        grid.pack(*parts[:-2], parts[-2] + np.int16(300), parts[-1])
    with pytest.raises(FormatError, match="scales are f16"):
        grid.pack(*parts[:-1], parts[-1].astype(np.float32))


@pytest.mark.parametrize("places", [(1, 1), (2, 1), (0, 4), (-1, 2)])
def test_places_out_of_order_are_not_packed(places: tuple[int, int]) -> None:
    indices = np.tile(np.array(places), (1, 1, 16, 1))
    with pytest.raises(FormatError, match="i0 < i1"):
        S24_0.pack(indices, np.zeros_like(indices), np.ones((1, 1), np.float16))


@pytest.mark.parametrize("grid", ALL, ids=by_name)
def test_extreme_scales(grid) -> None:
    for scale in (0.0, 6e-8, 65504.0):
        count = 128 // grid.block
        q = np.full((1, count, *((16, 2) if grid.kept == 2 else (grid.block,))), grid.low)
        places = [np.tile([0, 1], (1, count, 16, 1))] if grid.kept == 2 else []
        data = grid.pack(*places, q, np.full((1, count), scale, np.float16))
        assert grid.decode(data).min() == grid.low * float(np.float16(scale))


@pytest.mark.parametrize("grid", ALL, ids=by_name)
def test_the_gguf_package_reads_and_writes_them(grid, tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf")
    register()
    register()
    kind = gguf.GGMLQuantizationType[grid.name.upper()]
    assert (int(kind), gguf.GGML_QUANT_SIZES[kind]) == (grid.kind, (grid.block, grid.block_bytes))
    weights = np.random.default_rng(2).normal(0, 0.1, (3, 192)).astype(np.float32)
    data = grid.encode(weights)
    path = tmp_path / "one.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tensor("w", data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    (tensor,) = gguf.GGUFReader(path).tensors
    assert (tensor.tensor_type, tensor.shape.tolist()) == (kind, [192, 3])
    assert np.asarray(tensor.data).tobytes() == data.tobytes()
    read = gguf.dequantize(np.asarray(tensor.data), kind)
    assert np.allclose(read, grid.decode(data), rtol=1e-6, atol=0)
