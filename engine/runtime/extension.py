"""Steerway's own C API in the patched llama.cpp, bound to the library that `llama_cpp` loaded.

The API is `native/src/steerway.h`. A stock llama-cpp-python does not have it: `features()` is then empty,
`version()` is "", and the functions that would need it raise `EngineUnavailable`.
"""

from __future__ import annotations

import ctypes
import functools

from engine.errors import EngineError, EngineUnavailable
from engine.runtime import library

RANGED_SHIFT = "ranged-shift"
API_VERSION = 1  # STEERWAY_API_VERSION this module is written for

Pointer = int | ctypes.c_void_p

# What a person or the engine can do about a refusal; the names are those of enum steerway_status.
_HINTS = {
    -1: "check the sequence id and that the range does not end before it starts",
    -2: "recompute the range instead",
    -3: "open the context with kv_unified",
    -4: "recompute the range instead",
    -5: "drop the other sequence's share of these cells first (seq_rm)",
    -6: "shift by less",
    -7: "free memory; the shift is applied by the next decode",
    -8: "drop the range and recompute it",
    -9: "recompute the range instead, and report this with STEERWAY_DEBUG=1",
}


class ShiftRefused(EngineError):
    """The library refused a shift. `status` is the steerway_status; -1 to -6 have changed nothing."""

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message, hint=_HINTS.get(status, ""), subject=status)
        self.status = status


@functools.cache
def _library() -> ctypes.CDLL | None:
    """The loaded libllama with our functions declared, or None on a stock or too new one."""
    try:
        loaded: ctypes.CDLL = library.load()._lib
    except EngineUnavailable:
        return None
    if not hasattr(loaded, "steerway_api_version") or loaded.steerway_api_version() != API_VERSION:
        return None
    return _declare(loaded)


def _declare(loaded: ctypes.CDLL) -> ctypes.CDLL:
    context, text = ctypes.c_void_p, ctypes.c_char_p
    int32, uint32 = ctypes.c_int32, ctypes.c_uint32
    for name, result, arguments in (
        ("version", text, []),
        ("features", uint32, []),
        ("feature_name", text, [uint32]),
        ("status_text", text, [int32]),
        ("set_features", int32, [context, uint32]),
        ("get_features", uint32, [context]),
        ("kv_shift_range", int32, [context, int32, int32, int32, int32]),
    ):
        function = getattr(loaded, f"steerway_{name}")
        function.restype, function.argtypes = result, arguments
    return loaded


def _patched() -> ctypes.CDLL:
    found = _library()
    if found is None:
        library.load()  # raises if the trouble is that it does not load at all
        raise EngineUnavailable(
            "this llama-cpp-python is the stock one",
            hint="install the patched one with `pip install ./native`",
        )
    return found


def _names(found: ctypes.CDLL, mask: int) -> dict[str, int]:
    bits = (1 << n for n in range(32) if mask & (1 << n))
    return {found.steerway_feature_name(bit).decode(): bit for bit in bits}


def features() -> tuple[str, ...]:
    """Names of the patched features this library has, all of them off by default; () on a stock one."""
    found = _library()
    return tuple(_names(found, found.steerway_features())) if found else ()


def version() -> str:
    """Version of the patched library, such as "0.3.36+steerway.1"; "" on a stock one."""
    found = _library()
    return str(found.steerway_version().decode()) if found else ""


def enable(context: Pointer, *names: str) -> None:
    """Switch exactly the named features on for a `llama_context *`, all others off.

    Raises `EngineUnavailable` for a feature this library does not have.
    """
    if not names and _library() is None:
        return
    found = _patched()
    known = _names(found, found.steerway_features())
    if unknown := [name for name in names if name not in known]:
        raise EngineUnavailable(
            f"no feature {unknown[0]!r} in {version()}", hint=f"known: {', '.join(known)}"
        )
    found.steerway_set_features(context, sum({known[name] for name in names}))


def enabled(context: Pointer) -> tuple[str, ...]:
    """Features switched on for a `llama_context *`."""
    found = _library()
    return tuple(_names(found, found.steerway_get_features(context))) if found else ()


def shift_range(context: Pointer, seq: int, p0: int, p1: int, delta: int) -> int:
    """Add `delta` to the positions p0 <= pos < p1 of sequence `seq` and rotate their keys, now.

    p0 < 0 means from the start, p1 < 0 to the end. With `RANGED_SHIFT` enabled only the moved cells are
    touched, otherwise llama.cpp's shift of the whole cache runs. Returns the number of cells moved. Raises
    `ShiftRefused` when it cannot be done right (shared cells, sliding window, no rotation, ...) and
    `EngineUnavailable` on a stock library.
    """
    found = _patched()
    status = int(found.steerway_kv_shift_range(context, seq, p0, p1, delta))
    if status < 0:
        text = found.steerway_status_text(status).decode()
        raise ShiftRefused(f"the KV cache cannot be shifted: {text}", status=status)
    return status
