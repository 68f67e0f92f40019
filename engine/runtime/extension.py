"""Steerway's own C API in the patched llama.cpp, bound to the library that `llama_cpp` loaded.

The API is `native/src/steerway.h`. A stock llama-cpp-python does not have it: `features()` is then empty,
`version()` is "", and the functions that would need it raise `EngineUnavailable`.

Nothing here checks that a `llama_context *` is one, nor that a buffer is as long as it says: `Context` does.
"""

from __future__ import annotations

import ctypes
import functools
from dataclasses import dataclass

from engine.errors import EngineError, EngineUnavailable
from engine.runtime import library

RANGED_SHIFT = "ranged-shift"
LOOSE_POSITIONS = "loose-positions"
MASK_BIAS = "mask-bias"
KV_ROWS = "kv-rows"
HEADS = "heads"
ATTENTION = "attention"  # kernels
MATMUL = "matmul"
PACKED = "packed"
API_VERSION = 3  # STEERWAY_API_VERSION this module is written for

Pointer = int | ctypes.c_void_p

# Row types by their name here, as enum ggml_type.
ROW_TYPES = {"f16": 1, "q8_0": 8}

# Types of weights that the kernel "packed" can pack, as enum ggml_type.
WEIGHT_TYPES = {
    "Q4_0": 2, "Q4_1": 3, "Q5_0": 6, "Q8_0": 8, "Q4_K": 12, "Q6_K": 14, "S24_0": 240, "I3_0": 241,
}  # fmt: skip

# Ways of computing a product, as enum steerway_way.
WAYS = {"packed": 0, "in-place": 1, "stock": 2}

NO_ROTATION = -4
SWITCHED_OFF = -10

# What a person or the engine can do about a refusal; the names are those of enum steerway_status.
_HINTS = {
    -1: "check the sequence id, and that the range does not end before it starts",
    -2: "recompute the range instead",
    -3: "open the context with kv_unified",
    -4: "recompute the range instead",
    -5: "drop the other sequence's share of these cells first (seq_rm)",
    -6: "shift by less",
    -7: "free memory; the shift is applied by the next decode",
    -8: "drop the range and recompute it",
    -9: "recompute the range instead, and report this with STEERWAY_DEBUG=1",
    -10: "name the feature when the context is made",
    -11: "open the context with f16 keys and values and flash attention",
    -12: "recompute the range instead",
    -13: "remove something first, or ask for a longer context",
    -14: "leave it to llama.cpp's own kernels",
}


class Refused(EngineError):
    """The library refused a call on the KV cache. `status` is the steerway_status.

    All but -7 to -9 have changed nothing.
    """

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message, hint=_HINTS.get(status, ""), subject=status)
        self.status = status


@dataclass(frozen=True)
class Layer:
    """One layer of a context's cache, as far as it decides what its rows mean (struct steerway_kv_layer)."""

    index: int  # in the model
    k_width: int  # values of one token's key: all heads
    v_width: int
    k_head: int  # values of one head's key
    v_head: int
    n_rot: int  # values of a head that RoPE rotates, 0 for none
    rope_type: int  # enum llama_rope_type
    k_type: int  # enum ggml_type
    v_type: int
    freq_base: float
    freq_scale: float
    factors: int  # a hash of RoPE's frequency factors, 0 without


class _Layer(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int32) for name in list(Layer.__annotations__)[:9]),
        ("freq_base", ctypes.c_float),
        ("freq_scale", ctypes.c_float),
        ("factors", ctypes.c_uint64),
    ]


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
    int32, uint32, real, size = ctypes.c_int32, ctypes.c_uint32, ctypes.c_float, ctypes.c_size_t
    int64 = ctypes.c_int64
    for name, result, arguments in (
        ("version", text, []),
        ("features", uint32, []),
        ("feature_name", text, [uint32]),
        ("status_text", text, [int32]),
        ("set_features", int32, [context, uint32]),
        ("get_features", uint32, [context]),
        ("kernels", uint32, []),
        ("kernel_name", text, [uint32]),
        ("get_kernels", uint32, []),
        ("set_kernels", int32, [uint32]),
        ("can_pack", int32, [int32]),
        ("packs", int32, [int32]),
        ("set_packs", int32, [int32, ctypes.c_bool]),
        ("measure_product", int64, [int32, int64, int64, int64, int32, int32, int64]),
        ("kv_shift_range", int32, [context, int32, int32, int32, int32]),
        ("kv_layers", int32, [context, ctypes.POINTER(_Layer), int32]),
        ("kv_row_bytes", int64, [context, int32]),
        ("kv_free_cells", int32, [context]),
        ("kv_read", int32, [context, int32, int32, int32, int32, context, size]),
        ("kv_write", int32, [context, *[int32] * 6, real, int32, context, size]),
        ("set_bias", int32, [context, int32, int32, real]),
        ("set_heads", int32, [context, context, int32, context]),
        ("set_edges", int32, [context, int32, context, int32]),
        ("head_counts", None, [context, context]),
    ):
        function = getattr(loaded, f"steerway_{name}", None)
        if function is not None:  # a library of the same version may be older than what was only added
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


def _names(found: ctypes.CDLL, mask: int, what: str = "feature") -> dict[str, int]:
    name = getattr(found, f"steerway_{what}_name")
    bits = (1 << n for n in range(32) if mask & (1 << n))
    return {name(bit).decode(): bit for bit in bits}


def features() -> tuple[str, ...]:
    """Names of the patched features this library has, all of them off by default; () on a stock one."""
    found = _library()
    return tuple(_names(found, found.steerway_features())) if found else ()


def version() -> str:
    """Version of the patched library, such as "0.3.36+steerway.3"; "" on a stock one."""
    found = _library()
    return str(found.steerway_version().decode()) if found else ""


def enable(context: Pointer, *names: str) -> None:
    """Switch exactly the named features on for a `llama_context *`, all others off.

    Raises `EngineUnavailable` for a feature this library does not have, `Refused` for one that the
    context's memory cannot have (all but `RANGED_SHIFT` need one plain, unified KV cache).
    """
    if not names and _library() is None:
        return
    found = _patched()
    known = _names(found, found.steerway_features())
    if unknown := [name for name in names if name not in known]:
        raise EngineUnavailable(
            f"no feature {unknown[0]!r} in {version()}", hint=f"known: {', '.join(known)}"
        )
    _checked(
        found,
        found.steerway_set_features(context, sum({known[name] for name in names})),
        "these features cannot be switched on",
    )


def enabled(context: Pointer) -> tuple[str, ...]:
    """Features switched on for a `llama_context *`."""
    found = _library()
    return tuple(_names(found, found.steerway_get_features(context))) if found else ()


def kernels() -> tuple[str, ...]:
    """Names of our CPU kernels that this build has for its instruction set; () on a stock library."""
    found = _library()
    return tuple(_names(found, found.steerway_kernels(), "kernel")) if found else ()


def kernels_on() -> tuple[str, ...]:
    """Names of our CPU kernels that are switched on, for the whole process."""
    found = _library()
    return tuple(_names(found, found.steerway_get_kernels(), "kernel")) if found else ()


def set_kernels(*names: str) -> None:
    """Switch exactly the named CPU kernels on, all others off, for the whole process, while nothing computes.

    Raises `EngineUnavailable` for a kernel this library does not have.
    """
    found = _library() if not names else _patched()
    if found is None:
        return
    known = _names(found, found.steerway_kernels(), "kernel")
    if unknown := [name for name in names if name not in known]:
        raise EngineUnavailable(
            f"no kernel {unknown[0]!r} in {version()} on this processor",
            hint="known: " + (", ".join(known) or "none"),
        )
    mask = sum({known[name] for name in names})
    _checked(found, found.steerway_set_kernels(mask), "these kernels cannot be switched on")


def packable() -> tuple[str, ...]:
    """Types of weights that the kernel "packed" has for this processor, such as "Q4_0"."""
    found = _library()
    if found is None or not hasattr(found, "steerway_can_pack"):
        return ()
    return tuple(name for name, kind in WEIGHT_TYPES.items() if found.steerway_can_pack(kind))


def packed_types() -> tuple[str, ...]:
    """Types that are packed in models loaded from now on, while "packed" is on; at first all `packable()`."""
    return tuple(name for name in packable() if _patched().steerway_packs(WEIGHT_TYPES[name]))


def set_packed_types(*names: str) -> None:
    """Let exactly the named types be packed in models loaded from now on, for the whole process.

    Raises `EngineUnavailable` for a type that this library cannot pack.
    """
    known = packable()
    if unknown := [name for name in names if name not in known]:
        raise EngineUnavailable(
            f"weights of type {unknown[0]!r} cannot be packed by {version() or 'a stock library'}",
            hint="known: " + (", ".join(known) or "none"),
        )
    for name in known:
        _checked(
            _patched(), _patched().steerway_set_packs(WEIGHT_TYPES[name], name in names), "cannot be packed"
        )


def measure_product(
    kind: str, way: str, *, rows: int, width: int, columns: int = 1, threads: int, at_least_bytes: int = 0
) -> int:
    """Nanoseconds of one product of `rows` rows of `width` weights with `columns` columns of activations.

    `kind` is one of `WEIGHT_TYPES`, `way` one of `WAYS`: "packed", "in-place" (our kernel for plain weights)
    or "stock" (llama.cpp's own, with its repacking). Copies of the matrix, `at_least_bytes` together, are
    taken in turn, so that weights come from memory when the caches hold less. A median of rounds, a tenth of
    a second or more. Nothing else may compute meanwhile, in this process. Raises `Refused` for what cannot
    be measured, `EngineUnavailable` on a library without it.
    """
    found = _patched()
    if not hasattr(found, "steerway_measure_product"):
        raise EngineUnavailable(f"{version()} measures no products", hint="run `pip install ./native` again")
    took = found.steerway_measure_product(
        WEIGHT_TYPES[kind], rows, width, columns, threads, WAYS[way], at_least_bytes
    )
    return _checked(found, took, f"a product of {kind} weights, {way}, cannot be measured")


def shift_range(context: Pointer, seq: int, p0: int, p1: int, delta: int) -> int:
    """Add `delta` to the positions p0 <= pos < p1 of sequence `seq` and rotate their keys, now.

    p0 < 0 means from the start, p1 < 0 to the end. With `RANGED_SHIFT` enabled only the moved cells are
    touched, otherwise llama.cpp's shift of the whole cache runs. Returns the number of cells moved. Raises
    `Refused` when it cannot be done right (shared cells, sliding window, no rotation, ...) and
    `EngineUnavailable` on a stock library.
    """
    found = _patched()
    status = found.steerway_kv_shift_range(context, seq, p0, p1, delta)
    return _checked(found, status, "the KV cache cannot be shifted")


def layers(context: Pointer) -> tuple[Layer, ...]:
    """The layers of a context's cache, in the order of their rows. Raises `Refused` for other memories."""
    found = _patched()
    count = _checked(found, found.steerway_kv_layers(context, None, 0), "the memory has no layers of cells")
    rows = (_Layer * count)()
    _checked(found, found.steerway_kv_layers(context, rows, count), "the memory has no layers of cells")
    return tuple(Layer(*(getattr(row, name) for name in Layer.__annotations__)) for row in rows)


def row_bytes(context: Pointer, kind: str) -> int:
    """Bytes of one token's rows, all layers. Raises `Refused` when this context's cells have no such rows."""
    found = _patched()
    return _checked(
        found, found.steerway_kv_row_bytes(context, ROW_TYPES[kind]), "this KV cache has no such rows"
    )


def free_cells(context: Pointer) -> int:
    """How many cells of a context's cache are free. Raises `Refused` when it is not one plain cache."""
    found = _patched()
    return _checked(found, found.steerway_kv_free_cells(context), "the memory has no cells to count")


def read_rows(context: Pointer, seq: int, p0: int, p1: int, kind: str, target: Pointer, size: int) -> None:
    """Copy the rows of positions [p0, p1) to `size` bytes at `target`. Raises `Refused`."""
    found = _patched()
    status = found.steerway_kv_read(context, seq, p0, p1, ROW_TYPES[kind], target, size)
    _checked(found, status, "the rows cannot be read")


def write_rows(
    context: Pointer, seq: int, position: int, *, count: int, first: int, total: int, delta: int,
    k_scale: float, kind: str, source: Pointer, size: int,
) -> None:  # fmt: skip
    """Copy rows [first, first + count) of the block of `total` tokens at `source` into free cells.

    They become positions `position`.. of `seq`, keys rotated by `delta` positions and times `k_scale`.
    Raises `Refused`, having changed nothing. With `count` 0 that is all it does.
    """
    found = _patched()
    status = found.steerway_kv_write(
        context, seq, position, count, first, total, delta, k_scale, ROW_TYPES[kind], source, size
    )
    _checked(found, status, "the rows cannot be written")


def set_bias(context: Pointer, p0: int, p1: int, bias: float) -> None:
    """Let queries at positions >= p1 get `bias` added to their logits for cells at p0 <= position < p1.

    Replaces the bias set before; 0 is off. Raises `Refused` when off for this context, or beyond 10,000.
    """
    found = _patched()
    _checked(found, found.steerway_set_bias(context, p0, p1, bias), "the attention bias cannot be set")


def set_heads(context: Pointer, heads: Pointer | None, count: int, constants: Pointer | None) -> None:
    """Give `count` heads (struct steerway_head) with their constants; 0 is off. Raises `Refused`."""
    found = _patched()
    status = found.steerway_set_heads(context, heads, count, constants)
    _checked(found, status, "these heads cannot be given")


def set_edges(context: Pointer, seq: int, edges: Pointer | None, count: int) -> None:
    """Let `count` edges (struct steerway_edge) be those of `seq`, and no others. Raises `Refused`."""
    found = _patched()
    _checked(found, found.steerway_set_edges(context, seq, edges, count), "these edges cannot be set")


def head_counts() -> tuple[int, int]:
    """Products of a query and a key, done and left out by decodes with heads set, since the start."""
    done, skipped = ctypes.c_uint64(), ctypes.c_uint64()
    found = _patched()
    if hasattr(found, "steerway_head_counts"):
        found.steerway_head_counts(ctypes.byref(done), ctypes.byref(skipped))
    return done.value, skipped.value


def _checked(found: ctypes.CDLL, status: int, what: str) -> int:
    if status < 0:
        raise Refused(f"{what}: {found.steerway_status_text(status).decode()}", status=status)
    return status
