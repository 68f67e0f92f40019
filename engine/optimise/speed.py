"""What a token's products cost on this machine, type by type, measured on weights larger than the caches."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from statistics import median

from engine.models.header import Tensor
from engine.models.quantisation import BLOCKS
from engine.optimise.groups import Group
from engine.runtime import extension

_ROUNDS = 5
_LEAST_ROWS = 256  # products of fewer are not told apart


class Speed:
    """Nanoseconds of a matrix times one column, with `threads` threads, as the engine computes it."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._measured = cache(self._measure)

    def group_ns(self, group: Group, kind: int | None) -> float:
        """A token's time in a group, in type `kind` or as it is."""
        return sum(
            self.tensor_ns(tensor, kind if kind is not None else tensor.kind) for tensor in group.tensors
        )

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
            rows[group.name] = {name: round(1000 * ns / group.weights, 2) for name, ns in row.items()}
        return rows

    def _measure(self, kind: int, rows: int, columns: int) -> float:
        return median(
            extension.measure_product(kind, rows, columns, threads=self._threads) for _ in range(_ROUNDS)
        )
