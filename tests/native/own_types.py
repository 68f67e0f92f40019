"""Steerway's weight types: the native library's by ctypes, and in numpy as docs/weight-types.md says.

Also a program: `python own_types.py` writes golden-types.json, the bytes that every encoder has to give.
"""

from __future__ import annotations

import ctypes
import json
import os
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

GOLDEN = Path(__file__).with_name("golden-types.json")
TYPES = {"s24_0": 240, "i3_0": 241}
BLOCK, BLOCK_BYTES = 64, 26
MASKS = tuple((i0, i1) for i1 in range(4) for i0 in range(i1))  # the six that are in order


def package() -> Path:
    spec = find_spec("llama_cpp")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


def folder() -> Path:
    """Where llama_cpp looks for its libraries."""
    given = os.environ.get("LLAMA_CPP_LIB_PATH")
    return Path(given) if given else package() / "lib"


@cache
def base() -> Any:
    """ggml's base library. Its functions take the types' ids, pointers and 64-bit sizes."""
    library = ctypes.CDLL(str(next(path for path in folder().glob("libggml-base.*"))))
    pointer, size, i64 = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int64
    library.ggml_quantize_chunk.argtypes = [ctypes.c_int, pointer, pointer, i64, i64, i64, pointer]
    library.ggml_quantize_chunk.restype = size
    library.ggml_validate_row_data.argtypes = [ctypes.c_int, pointer, size]
    library.ggml_validate_row_data.restype = ctypes.c_bool
    library.ggml_type_name.restype = ctypes.c_char_p
    library.ggml_row_size.argtypes, library.ggml_row_size.restype = [ctypes.c_int, i64], size
    for name in TYPES:
        getattr(library, f"dequantize_row_{name}").argtypes = [pointer, pointer, i64]
    return library


def quantise(name: str, rows: np.ndarray, importance: np.ndarray | None = None) -> np.ndarray:
    """float32 [rows, columns] -> uint8 [rows, columns / 64 * 26]."""
    rows = np.ascontiguousarray(rows, np.float32)
    out = np.zeros((len(rows), rows.shape[1] // BLOCK * BLOCK_BYTES), np.uint8)
    weights = None if importance is None else np.ascontiguousarray(importance, np.float32)
    size = base().ggml_quantize_chunk(
        TYPES[name], rows.ctypes.data, out.ctypes.data, 0, *rows.shape,
        None if weights is None else weights.ctypes.data,
    )  # fmt: skip
    assert size == out.size
    return out


def dequantise(name: str, data: np.ndarray) -> np.ndarray:
    """uint8 [rows, bytes] -> float32 [rows, columns]."""
    data = np.ascontiguousarray(data)
    out = np.zeros((len(data), data.shape[1] // BLOCK_BYTES * BLOCK), np.float32)
    getattr(base(), f"dequantize_row_{name}")(data.ctypes.data, out.ctypes.data, out.size)
    return out


def is_valid(name: str, data: np.ndarray) -> bool:
    data = np.ascontiguousarray(data)
    return bool(base().ggml_validate_row_data(TYPES[name], data.ctypes.data, data.size))


def decoded(name: str, data: np.ndarray) -> np.ndarray:
    """What the bytes mean: uint8 [..., bytes] -> float64 [..., columns]."""
    blocks = data.reshape(-1, BLOCK_BYTES)
    scales = np.ascontiguousarray(blocks[:, :2]).view("<f2").astype(np.float64)
    values = _decoded_s24(blocks) if name == "s24_0" else _decoded_i3(blocks)
    return np.asarray(scales * values).reshape(*data.shape[:-1], -1)


def _decoded_s24(blocks: np.ndarray) -> np.ndarray:
    values = np.zeros((len(blocks), BLOCK))
    rows = np.arange(len(blocks))
    for group in range(BLOCK // 4):
        indices = blocks[:, 2 + group // 2] >> 4 * (group % 2)
        values[rows, 4 * group + (indices & 3)] = (blocks[:, 10 + group] & 15) - 8.0
        values[rows, 4 * group + (indices >> 2 & 3)] = (blocks[:, 10 + group] >> 4) - 8.0
    return values


def _decoded_i3(blocks: np.ndarray) -> np.ndarray:
    k = np.arange(BLOCK)
    low = blocks[:, 2 + k // 4] >> (2 * (k % 4)).astype(np.uint8) & 3
    high = blocks[:, 18 + k // 8] >> (k % 8).astype(np.uint8) & 1
    return np.asarray((low | high << 2) - 4.0)


def golden_cases() -> Iterator[tuple[str, np.ndarray, np.ndarray | None]]:
    """Name, 64 weights, and weights of their squared errors."""
    random = np.random.default_rng(11)
    plain = random.normal(0, 0.05, BLOCK)
    sparse = np.zeros(BLOCK)
    sparse[[1, 7, 8, 30, 63]] = [0.5, -0.25, 0.125, -1, 0.75]
    spoiled = plain.copy()
    spoiled[17] = np.nan
    yield "normal", plain, None
    yield "heavy tails", random.standard_t(2, BLOCK), None
    yield "zeros", np.zeros(BLOCK), None
    yield "few that are not zero", sparse, None
    yield "equal magnitudes", np.where(random.random(BLOCK) < 0.5, -0.5, 0.5), None
    yield "not a number", spoiled, None
    yield "subnormal scale", plain * 1e-5, None
    yield "no scale small enough", plain * 1e-9, None
    yield "scale near the largest", plain * 3e6, None
    yield "no scale large enough", plain * 1e9, None
    yield "weighted errors", random.normal(0, 0.05, BLOCK), random.exponential(1, BLOCK)


def golden() -> dict[str, object]:
    blocks = []
    for name in TYPES:
        for case, weights, importance in golden_cases():
            row = weights.astype("<f4")[None]
            weighted = None if importance is None else importance.astype("<f4")
            data = quantise(name, row, weighted)
            blocks.append({
                "type": name, "case": case, "weights": row.tobytes().hex(),
                "importance": None if weighted is None else weighted.tobytes().hex(),
                "bytes": data.tobytes().hex(),
                "values": [float(value).hex() for value in dequantise(name, data)[0]],
            })  # fmt: skip
    return {"version": 1, "blocks": blocks}


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(golden(), indent=1) + "\n", encoding="utf-8")
