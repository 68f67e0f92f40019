"""A block's integers and its scale: what the types have in common, and the search for the scale.

Every number up to the f16 scale is float32, every error float64, added up in the order of the columns: the C
code does the same, so that both write the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.formats.errors import FormatError

Floats = NDArray[np.float64]
Halves = NDArray[np.float16]
Integers = NDArray[np.int8]
Bytes = NDArray[np.uint8]

SHRINKS = (0.80, 0.85, 0.90, 0.95, 1.00, 1.05, 1.10, 1.15, 1.20)


@dataclass(frozen=True)
class Grid:
    """A weight type: w = d*q with q in [low, high], one f16 d for `block` weights of a row in `block_bytes`.

    `kept` of every 4 weights may differ from zero.
    """

    name: str
    kind: int
    block: int
    block_bytes: int
    low: int
    high: int
    kept: int = 4

    @property
    def bits(self) -> float:
        """Bits a weight, zeros counted."""
        return 8 * self.block_bytes / self.block

    @property
    def divisors(self) -> tuple[np.float32, ...]:
        """What the weight of largest magnitude is divided by, in the order in which scales are tried."""
        return tuple(np.float32(end) * np.float32(s) for end in (self.low, self.high) for s in SHRINKS)

    def fits(self, columns: int) -> bool:
        """Whether rows of so many weights are whole blocks."""
        return columns > 0 and columns % self.block == 0

    def rows(self, weights: NDArray[np.floating]) -> NDArray[np.float32]:
        """`weights` [rows, columns] as float32 [blocks, block]. Raises FormatError for other shapes."""
        if weights.ndim != 2 or not self.fits(weights.shape[1]):
            raise FormatError(
                f"{self.name} takes rows of a multiple of {self.block} weights, not {weights.shape}"
            )
        return np.ascontiguousarray(weights, np.float32).reshape(-1, self.block)

    def scales(self, kept: NDArray[np.float32], importance: NDArray[np.floating] | None = None) -> Halves:
        """The f16 scale of each row of `kept` [blocks, weights that count]; 0 where none can be given.

        Of the candidates, in their order, the first with the smallest error, weighted by `importance`.
        """
        top = np.take_along_axis(kept, np.abs(kept).argmax(axis=1)[:, None], axis=1)[:, 0]
        best = np.zeros(len(kept), np.float16)
        least = np.full(len(kept), np.inf)
        wide = kept.astype(np.float64)
        with np.errstate(all="ignore"):
            usable = np.isfinite(kept).all(axis=1) & (top != 0)
            for divisor in self.divisors:
                scale = (top / divisor).astype(np.float16)
                possible = usable & np.isfinite(scale) & (scale != 0)
                error = self._error(wide, scale.astype(np.float64), importance)
                better = possible & (error < least)
                best[better], least[better] = scale[better], error[better]
        return best

    def quantise(self, kept: NDArray[np.floating], scale: Halves) -> Integers:
        """The nearest q in [low, high], ties to even, of `kept` [blocks, n]; 0 where the scale is."""
        with np.errstate(all="ignore"):
            ratio = kept.astype(np.float64) / scale.astype(np.float64)[:, None]
            found = np.clip(np.rint(ratio), self.low, self.high)
        return np.where(scale[:, None] != 0, found, 0).astype(np.int8)

    def _error(self, kept: Floats, scale: Floats, importance: NDArray[np.floating] | None) -> Floats:
        wide = scale[:, None]
        apart = kept - wide * np.clip(np.rint(kept / wide), self.low, self.high)
        squares = apart * apart if importance is None else importance * (apart * apart)
        total = np.zeros(len(kept))
        for column in range(squares.shape[1]):  # in order: numpy's own sum adds in pairs
            total += squares[:, column]
        return total

    def check(self, q: NDArray[np.integer], scale: Halves, blocks: tuple[int, ...]) -> None:
        """Raises FormatError when `q` leaves the range, or a scale is no finite number of the right shape."""
        if scale.dtype != np.float16 or scale.shape != blocks:
            raise FormatError(f"{self.name}: scales are f16 {blocks}, not {scale.dtype} {scale.shape}")
        if not np.isfinite(scale).all():
            raise FormatError(
                f"{self.name}: block {_first(~np.isfinite(scale))} has the scale infinity or NaN"
            )
        wrong = (q < self.low) | (q > self.high)
        if wrong.any():
            raise FormatError(
                f"{self.name}: a value is outside of {self.low} to {self.high} at {_first(wrong)}"
            )

    def blocks(self, data: Bytes) -> Bytes:
        """`data` [rows, bytes] as [blocks, block_bytes]. Raises FormatError unless rows are whole blocks."""
        if data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] % self.block_bytes or not data.shape[1]:
            raise FormatError(
                f"{self.name}: rows of bytes in whole blocks of {self.block_bytes}, not {data.shape}"
            )
        return np.ascontiguousarray(data).reshape(-1, self.block_bytes)


def scale_bytes(scale: Halves) -> Bytes:
    """f16 [blocks] as little-endian bytes [blocks, 2]."""
    found: Bytes = np.ascontiguousarray(scale.reshape(-1, 1)).astype("<f2").view(np.uint8)
    return found


def read_scales(grid: Grid, data: Bytes) -> Halves:
    """The f16 scales that `data` [blocks, bytes] begins with. Raises FormatError for infinity and NaN."""
    scale: Halves = np.ascontiguousarray(data[:, :2]).view("<f2")[:, 0].astype(np.float16)
    if not np.isfinite(scale).all():
        raise FormatError(f"{grid.name}: block {_first(~np.isfinite(scale))} has the scale infinity or NaN")
    return scale


def _first(wrong: NDArray[np.bool_]) -> str:
    return ", ".join(str(int(at)) for at in np.argwhere(wrong)[0])
