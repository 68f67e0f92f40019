"""A linear layer's weights on a grid: column by column, each one's error made up for by those behind it.

GPTQ (arXiv:2210.17323) for the values and SparseGPT (arXiv:2301.00774) for which 2 of 4 stay, in one pass:
the two are chosen when their group is reached, so they see what the columns before could not represent. A
block's scale is chosen at its first column, for the weights as they are then. Wanda (arXiv:2306.11695)
chooses from the weights and input norms alone, beforehand; magnitude from the weights, and rounds without
making up.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from engine.compress.hessian import Inverse
from engine.formats import Grid

Method = Literal["magnitude", "wanda", "sparsegpt"]
GROUP = 4
LAZY_COLUMNS = 128


@dataclass(frozen=True)
class Solved:
    """Weights scale * q: `q` int8 (0 off `kept`), `kept` bool [rows, columns], `scale` f16 [rows, blocks]."""

    grid: Grid
    q: Tensor
    kept: Tensor
    scale: Tensor

    @property
    def weight(self) -> Tensor:
        """float32 [rows, columns]: what the stored bytes mean."""
        return self.q.float() * self.scale.float().repeat_interleave(self.grid.block, dim=1)


def solve(weight: Tensor, grid: Grid, method: Method, inverse: Inverse) -> Solved:
    """`weight` float32 [rows, columns] on `grid`. Columns must be whole blocks of it (`grid.fits`)."""
    if not grid.fits(weight.shape[1]):
        raise ValueError(f"{weight.shape[1]} columns are no whole blocks of {grid.name}")
    if method == "magnitude":
        return nearest(weight, grid)
    wanda = method == "wanda" and grid.kept < GROUP
    kept = top_two(weight.abs() * inverse.norms) if wanda else None
    with one_thread():
        return _Pass(weight, grid, inverse, kept).run()


def nearest(weight: Tensor, grid: Grid) -> Solved:
    """Each weight to the grid's nearest; the two largest of a sparse grid's groups stay."""
    kept = top_two(weight.abs()) if grid.kept < GROUP else torch.ones_like(weight, dtype=torch.bool)
    blocks = torch.where(kept, weight, 0.0).reshape(-1, grid.block)
    scale = find_scales(blocks, grid)
    q = _rounded(blocks, scale[:, None], grid).to(torch.int8).reshape(weight.shape)
    return Solved(grid, q, kept, scale.half().reshape(len(weight), -1))


def top_two(scores: Tensor) -> Tensor:
    """Bool like `scores` [rows, columns]: the two largest of each 4, ties to the lower column."""
    groups = scores.reshape(*scores.shape[:-1], -1, GROUP)
    order = groups.argsort(dim=-1, descending=True, stable=True)[..., :2]
    return torch.zeros_like(groups, dtype=torch.bool).scatter_(-1, order, True).reshape(scores.shape)


def find_scales(blocks: Tensor, grid: Grid) -> Tensor:
    """The scale of each row of `blocks` [n, block], where dropped weights are zeros: float32 with f16 values.

    The search of `Grid.scales`, in float32: without a Hessian the bytes are the reference's.
    """
    top = blocks.gather(1, blocks.abs().argmax(dim=1, keepdim=True))
    best, least = torch.zeros_like(top), torch.full_like(top, torch.inf)
    apart = torch.empty_like(blocks)
    for divisor in grid.divisors:
        scale = (top / float(divisor)).half().float()
        torch.div(blocks, torch.where(scale == 0, 1.0, scale), out=apart)
        apart.round_().clamp_(grid.low, grid.high).mul_(scale).sub_(blocks)
        error = torch.linalg.vector_norm(apart, dim=1, keepdim=True)
        better = (error < least) & scale.isfinite() & (scale != 0)
        best, least = torch.where(better, scale, best), torch.where(better, error, least)
    return best[:, 0]


def _rounded(weight: Tensor, scale: Tensor, grid: Grid) -> Tensor:
    ratio = weight / torch.where(scale == 0, 1.0, scale)
    return torch.where(scale == 0, 0.0, ratio.round().clamp(grid.low, grid.high))


@contextmanager
def one_thread() -> Iterator[None]:
    """Thousands of small steps: handing each to several threads costs more than it saves, six times on a busy
    machine.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class _Pass:
    """The pass over the columns. `kept` is given, or chosen group by group (None)."""

    def __init__(self, weight: Tensor, grid: Grid, inverse: Inverse, kept: Tensor | None) -> None:
        self._rest = torch.where(
            inverse.dead, 0.0, weight
        )  # what the columns are to become; shrinks to errors
        self._grid, self._factor = grid, inverse.factor
        self._chosen = kept is None and grid.kept < GROUP
        self._kept = torch.ones_like(weight, dtype=torch.bool) if kept is None else kept.clone()
        self._q = torch.zeros_like(weight, dtype=torch.int8)
        self._scale = torch.zeros(len(weight), weight.shape[1] // grid.block)

    def run(self) -> Solved:
        columns = self._rest.shape[1]
        for start in range(0, columns, LAZY_COLUMNS):
            end = min(start + LAZY_COLUMNS, columns)
            errors = self._batch(start, end)
            self._rest[:, end:] -= errors @ self._factor[start:end, end:]
        return Solved(self._grid, self._q, self._kept, self._scale.half())

    def _batch(self, start: int, end: int) -> Tensor:
        """Settle columns [start, end); their errors over the factor's diagonal, float32 [rows, end - start].

        Works on the transpose: a column is then one run of memory.
        """
        rest, factor = self._rest[:, start:end].T.contiguous(), self._factor[start:end, start:end]
        errors = torch.empty_like(rest)
        for j in range(end - start):
            column = start + j
            if column % self._grid.block == 0:
                self._begin_block(rest, factor, j, column)
            if self._chosen and column % GROUP == 0:
                self._kept[:, column : column + GROUP] = self._best(rest, factor, j, GROUP)
            scale = self._scale[:, column // self._grid.block]
            value = torch.where(self._kept[:, column], _rounded(rest[j], scale, self._grid), 0.0)
            self._q[:, column] = value.to(torch.int8)
            errors[j] = (rest[j] - value * scale) / factor[j, j]
            rest[j + 1 :] -= factor[j, j + 1 :, None] * errors[j]
        return errors.T

    def _begin_block(self, rest: Tensor, factor: Tensor, j: int, column: int) -> None:
        """The scale for the weights that stay, or would if nothing changed until their group is reached."""
        size = self._grid.block
        block = rest[j : j + size].T
        kept = self._best(rest, factor, j, size) if self._chosen else self._kept[:, column : column + size]
        self._scale[:, column // size] = find_scales(torch.where(kept, block, 0.0).contiguous(), self._grid)

    def _best(self, rest: Tensor, factor: Tensor, j: int, size: int) -> Tensor:
        """The two of each 4 whose removal would cost most: w^2 / [H^-1]_jj."""
        return top_two((rest[j : j + size] / factor.diagonal()[j : j + size, None]).T.square())
