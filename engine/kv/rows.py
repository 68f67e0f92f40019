"""Rows: the keys and values of some tokens, all layers, as bytes.

Layout: for each layer in order K[tokens][k_width], then V[tokens][v_width], each row contiguous. Keys carry
their rotary position. A value is a little-endian half (`f16`), or 32 of them are one block of ggml's `q8_0`:
a half-precision scale, then 32 signed bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np

RowKind = Literal["f16", "q8_0"]
KINDS: tuple[RowKind, ...] = get_args(RowKind)
Bytes = np.ndarray[Any, np.dtype[np.uint8]]

BLOCK_VALUES = 32
BLOCK_BYTES = 2 + BLOCK_VALUES
MAX_LAYERS = 1024
MAX_WIDTH = 1 << 20
MAX_TOKENS = 1 << 20
# Blocks converted at once: the temporaries of 4,096 stay in a core's second-level cache.
_STRIP_BLOCKS = 4096
_BLOCK = np.dtype([("scale", "<f2"), ("values", "i1", BLOCK_VALUES)])


def width_bytes(width: int, kind: RowKind) -> int:
    """Bytes of `width` values. Raises ValueError when q8_0 cannot hold them: it takes multiples of 32."""
    if kind == "f16":
        return 2 * width
    if width % BLOCK_VALUES:
        raise ValueError(f"q8_0 holds rows of a multiple of {BLOCK_VALUES} values, not {width}")
    return width // BLOCK_VALUES * BLOCK_BYTES


@dataclass(frozen=True)
class Shape:
    """What a token's rows hold: for each layer the number of values of K and of V.

    Raises ValueError when there is no layer, too many, or a width no model has.
    """

    layers: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        if not 0 < len(self.layers) <= MAX_LAYERS:
            raise ValueError(f"{len(self.layers)} layers: from 1 to {MAX_LAYERS} can be stored")
        for width in self.widths():
            if not 0 < width <= MAX_WIDTH:
                raise ValueError(f"a width of {width}: from 1 to {MAX_WIDTH} can be stored")

    def widths(self) -> Iterator[int]:
        """K's and V's width of each layer, in the order of the layout."""
        for k_width, v_width in self.layers:
            yield k_width
            yield v_width

    @cached_property
    def values(self) -> int:
        """Values of one token, all layers."""
        return sum(self.widths())

    @cached_property
    def _blocks(self) -> bool:
        return all(width % BLOCK_VALUES == 0 for width in self.widths())

    def holds(self, kind: RowKind) -> bool:
        """Whether rows of this shape can be of `kind`."""
        return kind == "f16" or self._blocks

    def row_bytes(self, kind: RowKind) -> int:
        """Bytes of one token's rows, all layers. Raises ValueError when they cannot be of `kind`."""
        if not self.holds(kind):
            raise ValueError(f"q8_0 holds rows of a multiple of {BLOCK_VALUES} values, not these")
        return width_bytes(self.values, kind)


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of `tokens` tokens, computed with the first at position `base`. Immutable.

    `data` is one-dimensional, uint8 and contiguous; who constructs Rows hands it over and writes no more.
    Raises ValueError when its length is not what `shape`, `tokens` and `kind` make.
    """

    data: Bytes
    tokens: int
    base: int
    kind: RowKind
    shape: Shape

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"rows of kind {self.kind!r}: there are {', '.join(KINDS)}")
        if not 0 < self.tokens <= MAX_TOKENS or not 0 <= self.base < 1 << 31:
            raise ValueError(f"rows of {self.tokens} tokens at position {self.base}")
        expected = self.tokens * self.shape.row_bytes(self.kind)
        data = np.ascontiguousarray(self.data)
        if data.dtype != np.uint8 or data.shape != (expected,):
            raise ValueError(f"{expected} bytes expected, got {data.dtype} of shape {data.shape}")
        view = data.view()
        view.flags.writeable = False
        object.__setattr__(self, "data", view)

    @property
    def nbytes(self) -> int:
        """Bytes of the rows."""
        return int(self.data.nbytes)

    def finite(self) -> bool:
        """Whether no value is infinite or not a number. For q8_0, whose bytes always are, of the scales."""
        halves = self.data.view(_BLOCK)["scale"] if self.kind == "q8_0" else self.data.view("<f2")
        return bool(np.isfinite(halves).all())

    def slice(self, first: int, count: int) -> Rows:
        """Copies of the rows of tokens `first` to `first + count`. Raises ValueError outside of them."""
        if first < 0 or count <= 0 or first + count > self.tokens:
            raise ValueError(f"{count} tokens from {first} of {self.tokens}")
        if count == self.tokens:
            return self
        data = np.empty(count * self.shape.row_bytes(self.kind), dtype=np.uint8)
        source = target = 0
        for width in self.shape.widths():
            row = width_bytes(width, self.kind)
            data[target : target + count * row] = self.data[source + first * row :][: count * row]
            source, target = source + self.tokens * row, target + count * row
        return Rows(data, count, self.base + first, self.kind, self.shape)

    def to(self, kind: RowKind) -> Rows:
        """These rows as `kind`; they themselves when they are.

        Equal to ggml's reference (`quantize_row_q8_0_ref`: scale = largest magnitude / 127, ties away from
        zero). Raises ValueError for a width q8_0 cannot hold, or values that are not finite.
        """
        if kind == self.kind:
            return self
        data = np.empty(self.tokens * self.shape.row_bytes(kind), dtype=np.uint8)
        blocks = (self.data if self.kind == "q8_0" else data).view(_BLOCK)
        halves = (data if self.kind == "q8_0" else self.data).view("<f2").reshape(-1, BLOCK_VALUES)
        convert = _dequantise if self.kind == "q8_0" else _quantise
        for start in range(0, len(blocks), _STRIP_BLOCKS):
            convert(blocks[start : start + _STRIP_BLOCKS], halves[start : start + _STRIP_BLOCKS])
        return Rows(data, self.tokens, self.base, kind, self.shape)


def _quantise(blocks: np.ndarray[Any, Any], halves: np.ndarray[Any, Any]) -> None:
    values = halves.astype(np.float32)
    size = np.abs(values)
    scale = size.max(axis=1, keepdims=True) / np.float32(127)
    if not math.isfinite(scale.max()):
        raise ValueError("values that are not finite have no q8_0")
    inverse = np.divide(np.float32(1), scale, out=np.zeros_like(scale), where=scale > 0)
    size *= inverse
    whole = np.floor(size)
    whole += size - whole >= 0.5
    blocks["scale"] = scale[:, 0].astype(np.float16)
    blocks["values"] = np.copysign(whole, values).astype(np.int8)


def _dequantise(blocks: np.ndarray[Any, Any], halves: np.ndarray[Any, Any]) -> None:
    np.multiply(
        blocks["scale"][:, None].astype(np.float32), blocks["values"], out=halves, casting="same_kind"
    )
