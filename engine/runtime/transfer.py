"""Keys and values in and out of a context's cells, and the bias on the attention they get.

What `Context` has on the patched library; every argument that native code takes is checked here.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from engine.runtime import extension

RowBytes = NDArray[np.uint8]
Kind = Literal["f16", "q8_0"]

END_OF_POSITIONS = 2**31 - 1  # llama_pos is 32 bits, and its largest value means "to the end"
_MOST_BIAS = 10_000.0


class Transfer(ABC):
    """The part of `Context` that moves rows."""

    handle: Any
    features: tuple[str, ...]
    _size: int

    @abstractmethod
    def _check_open(self) -> None: ...

    @abstractmethod
    def _check_sequence(self, sequence: int) -> None: ...

    @property
    def rows_supported(self) -> bool:
        """Whether `read` and `write` work here: the feature is on, and the cells are plain f16 rows."""
        self._check_open()
        return extension.KV_ROWS in self.features and _accepted(extension.row_bytes, self.handle, "f16")

    @property
    def rotation_supported(self) -> bool:
        """Whether `write` takes a `delta`: moving this model's keys is one plain rotation."""
        if not self.rows_supported:
            return False
        return _accepted(self._write, np.zeros(0, np.uint8), 0, 0, 0, 0, 1, 0, "f16", 1.0)

    def row_bytes(self, kind: Kind = "f16") -> int:
        """Bytes of one token's keys and values, all layers. Raises extension.Refused without rows."""
        self._check_kind(kind)
        return extension.row_bytes(self.handle, kind)

    def row_widths(self) -> tuple[tuple[int, int], ...]:
        """Values of one token's key and value, a layer. Raises extension.Refused without rows."""
        self.row_bytes()
        return tuple((layer.k_width, layer.v_width) for layer in extension.layers(self.handle))

    def read(self, start: int, end: int, *, sequence: int = 0, kind: Kind = "f16") -> RowBytes:
        """Keys and values of positions [start, end), each of which the sequence must have exactly once.

        For each layer K [tokens, k_width], then V [tokens, v_width], in `kind`, as uint8. Keys carry RoPE.
        Raises extension.Refused, ValueError, IndexError.
        """
        self._check_sequence(sequence)
        if not 0 <= start <= end <= END_OF_POSITIONS:
            raise ValueError(f"positions {start} to {end}")
        if end - start > self._size:
            raise ValueError(f"{end - start} positions in a context of {self._size}")
        rows = np.empty(self.row_bytes(kind) * (end - start), np.uint8)
        extension.read_rows(self.handle, sequence, start, end, kind, rows.ctypes.data, rows.nbytes)
        return rows

    def write(
        self, rows: RowBytes, *, total: int, first: int, count: int, position: int, delta: int,
        sequence: int = 0, kind: Kind = "f16", k_scale: float = 1.0,
    ) -> None:  # fmt: skip
        """Put rows [first, first + count) of a block of `total` into free cells, at `position`.. on.

        Keys are rotated by `delta` positions (where they go minus where they were computed) and multiplied
        by `k_scale`. Positions that the sequence already has are not refused. Raises extension.Refused when
        there is no room or no rotation, ValueError and IndexError for other arguments; nothing has then
        changed.
        """
        self._check_write(rows, total, first, count, kind)
        self._check_target(position, count, sequence, delta, k_scale)
        if rows.ctypes.data % 2:
            rows = rows.copy()  # native code reads 16 bits at a time
        self._write(rows, total, first, count, position, delta, sequence, kind, k_scale)

    def set_bias(self, start: int, end: int, bias: float) -> None:
        """Add `bias` to the logits of attention that queries from `end` on pay to [start, end); 0 is off.

        Raises extension.Refused without MASK_BIAS, ValueError beyond 10,000 either way.
        """
        self._check_open()
        if not 0 <= start <= end <= END_OF_POSITIONS:
            raise ValueError(f"positions {start} to {end}")
        if not abs(bias) <= _MOST_BIAS:
            raise ValueError(f"a bias of {bias}")
        if extension.MASK_BIAS not in self.features:
            raise _off(extension.MASK_BIAS)
        extension.set_bias(self.handle, start, end, bias)

    def identity(self) -> dict[str, str | int | float]:
        """What rows of this context depend on besides the model's weights and the tokens before them.

        Raises EngineUnavailable on a stock library, extension.Refused when the memory is not one plain cache.
        """
        self._check_open()
        layers = extension.layers(self.handle)
        facts: dict[str, str | int | float] = {"library": extension.version(), "layers": len(layers)}
        facts["flash_attention"] = 1
        for name in extension.Layer.__annotations__:
            if name != "index":
                facts[name] = _run_lengths([getattr(layer, name) for layer in layers])
        return facts

    def _write(
        self, rows: RowBytes, total: int, first: int, count: int, position: int, delta: int,
        sequence: int, kind: Kind, k_scale: float,
    ) -> None:  # fmt: skip
        extension.write_rows(
            self.handle, sequence, position, count=count, first=first, total=total, delta=delta,
            k_scale=k_scale, kind=kind, source=rows.ctypes.data, size=rows.nbytes,
        )  # fmt: skip

    def _check_kind(self, kind: Kind) -> None:
        self._check_open()
        if kind not in extension.ROW_TYPES:
            raise ValueError(f"rows of kind {kind!r}")
        if extension.KV_ROWS not in self.features:
            raise _off(extension.KV_ROWS)

    def _check_write(self, rows: RowBytes, total: int, first: int, count: int, kind: Kind) -> None:
        if min(first, count) < 0 or not first + count <= total <= END_OF_POSITIONS:
            raise ValueError(f"rows {first} to {first + count} of {total}")
        size = self.row_bytes(kind) * total
        if rows.dtype != np.uint8 or not rows.flags.c_contiguous or rows.nbytes != size:
            raise ValueError(f"{total} rows are {size} contiguous bytes, not {rows.nbytes} of {rows.dtype}")

    def _check_target(self, position: int, count: int, sequence: int, delta: int, k_scale: float) -> None:
        self._check_sequence(sequence)
        loose = extension.LOOSE_POSITIONS in self.features
        if not 0 <= position <= position + count <= (END_OF_POSITIONS if loose else self._size):
            raise ValueError(f"positions {position} to {position + count}")
        if not -END_OF_POSITIONS <= delta <= END_OF_POSITIONS:
            raise ValueError(f"a move by {delta}")
        # as float32: what is 0 or infinite there would make every key so
        if not (math.isfinite(k_scale) and 1e-30 < k_scale < 1e30):
            raise ValueError(f"a scale of {k_scale}")


def _accepted(function: Any, *arguments: object) -> bool:
    try:
        function(*arguments)
    except extension.Refused:
        return False
    return True


def _off(name: str) -> extension.Refused:
    return extension.Refused(f"{name} is not on for this context", status=extension.SWITCHED_OFF)


def _run_lengths(values: Sequence[float]) -> str:
    """One value a layer as text: "24x128" for 24 layers alike, "2x64,1x128" otherwise."""
    runs: list[tuple[int, float]] = []
    for value in values:
        count = runs.pop()[0] if runs and runs[-1][1] == value else 0
        runs.append((count + 1, value))
    return ",".join(f"{count}x{value!r}" for count, value in runs)
