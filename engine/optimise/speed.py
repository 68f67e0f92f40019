"""What a token's products cost on this machine, type by type, measured on weights larger than the caches."""

from __future__ import annotations

import math
from collections.abc import Sequence

from engine.errors import EngineError
from engine.models.header import Tensor
from engine.models.quantisation import BLOCKS
from engine.optimise.groups import Group
from engine.runtime import extension

_LEAST_ROWS = 256  # products of fewer are not told apart
_LARGER_THAN_CACHES = 96 << 20
ROUNDS = 6
_WAYS = ("packed", "stock")


class Speed:
    """Nanoseconds of a matrix times one column, with `threads` threads, as the engine computes it.

    All products that `groups` need as they are and in `kinds` are measured in turn, several times over, and
    the quickest counts: what a neighbour takes of the machine for a while then spoils no single type. NaN
    for types whose products cannot be measured: they are left alone.
    """

    def __init__(
        self, groups: Sequence[Group], kinds: Sequence[int], threads: int, *, rounds: int = ROUNDS
    ) -> None:
        self._threads = threads
        wanted = {
            _product(kind, tensor)
            for group in groups
            for tensor in group.tensors
            for kind in (tensor.kind, *(each for each in kinds if group.takes(each)))
        }
        ordered = sorted(wanted)
        passes = [[self._measure(*each) for each in ordered] for _ in range(rounds)]
        self._ns: dict[tuple[int, int, int], float] = {
            each: min(times) for each, times in zip(ordered, zip(*passes, strict=True), strict=True)
        }

    def group_ns(self, group: Group, kind: int | None) -> float:
        """A token's time in a group, in type `kind` or as it is."""
        chosen = (kind if kind is not None else tensor.kind for tensor in group.tensors)
        return sum(self.tensor_ns(tensor, each) for tensor, each in zip(group.tensors, chosen, strict=True))

    def tensor_ns(self, tensor: Tensor, kind: int) -> float:
        """A token's time in one matrix."""
        product = _product(kind, tensor)
        return self._ns[product] * (tensor.elements // tensor.shape[0]) / product[1]

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
                took: int = extension.measure_product(
                    name, way, rows=rows, width=columns, threads=self._threads,
                    at_least_bytes=_LARGER_THAN_CACHES,
                )  # fmt: skip
            except EngineError:
                continue
            return float(took)
        return math.nan


def _product(kind: int, tensor: Tensor) -> tuple[int, int, int]:
    """(type, rows, columns) that are measured for a tensor."""
    return kind, max(tensor.elements // tensor.shape[0], _LEAST_ROWS), tensor.shape[0]
