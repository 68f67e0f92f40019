"""Weights between ggml's types, by ggml's own code: to floats and back, rows at a time, on all cores."""

from __future__ import annotations

import ctypes
import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np

from engine.errors import EngineError, EngineUnavailable
from engine.runtime import library

_CHUNK_WEIGHTS = 1 << 20


class _Traits(ctypes.Structure):
    """ggml.h, struct ggml_type_traits."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("block", ctypes.c_int64),
        ("interleave", ctypes.c_int64),
        ("bytes", ctypes.c_size_t),
        ("quantised", ctypes.c_bool),
        ("to_float", ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)),
        ("from_float", ctypes.c_void_p),
    )


@cache
def _functions() -> tuple[Any, Any]:
    """The quantising function and the table of types."""
    try:
        quantise = library.load()._lib.ggml_quantize_chunk
        traits = library.load()._lib.ggml_get_type_traits
    except AttributeError as error:
        raise EngineUnavailable("this llama.cpp does not show ggml's types", hint=str(error)) from error
    quantise.restype = ctypes.c_size_t
    quantise.argtypes = [
        ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64,
        ctypes.c_void_p,
    ]  # fmt: skip
    traits.restype = ctypes.POINTER(_Traits)
    traits.argtypes = [ctypes.c_int]
    return quantise, traits


def knows(kind: int) -> bool:
    """Whether this build of ggml has the type `kind`; asking ggml's table behind its end would be fatal."""
    name = library.load()._lib.ggml_type_name
    name.restype, name.argtypes = ctypes.c_char_p, [ctypes.c_int]
    return name(kind) not in (None, b"NONE")


def _traits(kind: int) -> _Traits:
    return _functions()[1](kind).contents  # type: ignore[no-any-return]


def floats(kind: int, data: bytes, columns: int) -> np.ndarray:
    """Rows of `columns` weights of type `kind` as float32, shape (rows, columns). Raises EngineError."""
    traits = _checked(kind, columns)
    row_bytes = columns // traits.block * traits.bytes
    rows = len(data) // row_bytes
    if rows * row_bytes != len(data):
        raise EngineError(f"{len(data)} bytes are no whole rows of {columns} weights")
    source = np.frombuffer(data, dtype=np.uint8)
    if kind == 0:
        return source.view(np.float32).reshape(rows, columns)
    out = np.empty((rows, columns), dtype=np.float32)

    def part(first: int, count: int) -> None:
        at, to = source.ctypes.data + first * row_bytes, out.ctypes.data + first * columns * 4
        traits.to_float(at, to, count * columns)

    _share(part, rows, columns)
    return out


def quantised(kind: int, weights: np.ndarray, importance: np.ndarray | None = None) -> bytes:
    """`weights`, float32 of shape (rows, columns), as rows of type `kind`.

    `importance`, float32 of shape (columns,), weighs a column's squared errors. Raises EngineError.
    """
    rows, columns = weights.shape
    traits = _checked(kind, columns)
    source = np.ascontiguousarray(weights, dtype=np.float32)
    row_bytes = columns // traits.block * traits.bytes
    out = np.empty(rows * row_bytes, dtype=np.uint8)
    wanted = None if importance is None else np.ascontiguousarray(importance, dtype=np.float32)
    quantise = _functions()[0]

    def part(first: int, count: int) -> None:
        quantise(
            kind, source.ctypes.data, out.ctypes.data, first * columns, count, columns,
            None if wanted is None else wanted.ctypes.data,
        )  # fmt: skip

    _share(part, rows, columns)
    return out.tobytes()


def _checked(kind: int, columns: int) -> _Traits:
    if not knows(kind):
        raise EngineError(f"this llama.cpp has no weight type {kind}", subject=kind)
    traits = _traits(kind)
    if traits.block < 1 or columns % traits.block:
        raise EngineError(f"rows of {columns} weights cannot be {traits.name.decode()}", subject=kind)
    return traits


def _share(part: Any, rows: int, columns: int) -> None:
    """Call part(first, count) over all rows, on all cores: ggml's functions let go of the interpreter."""
    step = max(1, _CHUNK_WEIGHTS // columns)
    jobs = [(first, min(step, rows - first)) for first in range(0, rows, step)]
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for job in [pool.submit(part, *each) for each in jobs]:
            job.result()
