"""What a token's products cost on this machine, type by type, measured on weights larger than the caches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

from engine.errors import EngineError
from engine.models.header import Tensor
from engine.models.quantisation import BLOCKS
from engine.optimise.groups import Group
from engine.runtime import extension

_LEAST_ROWS = 256  # products of fewer are not told apart
_LARGER_THAN_CACHES = 96 << 20
_WAYS = ("packed", "stock")


class Speed:
    """Nanoseconds of a matrix times one column, with `threads` threads, as the engine computes it.

    NaN for types whose products cannot be measured: they are left alone.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._measured = cache(self._measure)

    def group_ns(self, group: Group, kind: int | None) -> float:
        """A token's time in a group, in type `kind` or as it is."""
        chosen = (kind if kind is not None else tensor.kind for tensor in group.tensors)
        return sum(self.tensor_ns(tensor, each) for tensor, each in zip(group.tensors, chosen, strict=True))

    def tensor_ns(self, tensor: Tensor, kind: int) -> float:
        """A token's time in one matrix."""
        columns, rows = tensor.shape[0], tensor.elements // tensor.shape[0]
        return self._measured(kind, max(rows, _LEAST_ROWS), columns) * rows / max(rows, _LEAST_ROWS)

    def table(self, groups: Sequence[Group], kinds: Sequence[int]) -> dict[str, dict[str, float]]:
        """Nanoseconds per 1,000 weights, by group and type; the shipped one is "as shipped"."""
        rows = {}
        for group in groups:
            row = {"as shipped": self.group_ns(group, None)}
            row |= {BLOCKS[kind][0]: self.group_ns(group, kind) for kind in kinds if group.takes(kind)}
            rows[group.name] = {
                name: round(1000 * ns / group.weights, 2) for name, ns in row.items() if not math.isnan(ns)
            }
        return rows

    def _measure(self, kind: int, rows: int, columns: int) -> float:
        name = BLOCKS[kind][0] if kind in BLOCKS else ""
        if name not in extension.WEIGHT_TYPES:
            return math.nan
        for way in _WAYS:
            try:
                return extension.measure_product(
                    name, way, rows=rows, width=columns, threads=self._threads,
                    at_least_bytes=_LARGER_THAN_CACHES,
                )  # fmt: skip
            except EngineError:
                continue
        return math.nan
