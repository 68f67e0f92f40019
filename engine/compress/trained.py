"""What is trained in place of a tensor: kept values on their grid, a vector, or a low-rank addition.

Each gives the weight it stands for, differentiable in its parameters.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import torch
from torch import Tensor

from engine.compress.solver import Solved


class Trained(Protocol):
    """`parameters` are float32 leaves by role: the role decides the learning rate."""

    parameters: dict[str, Tensor]

    def weight(self, precision: torch.dtype, *, rounded: bool) -> Tensor:
        """The tensor as the forward pass uses it; `rounded` to what can be stored, if there is a grid."""

    def settle(self) -> None:
        """After a step: back into the range that can be stored."""

    def reset(self) -> None:
        """Back to where training began."""


class Kept:
    """A solved layer: `values` in units of the grid, `scales` as relative changes; the mask stays.

    Gradients go straight through both roundings (of the integers, and of the scale to f16). With `fixed` only
    the scales are parameters.
    """

    def __init__(self, solved: Solved, device: torch.device, *, fixed: bool = False) -> None:
        self._solved = solved
        self._values = solved.q.float().to(device).requires_grad_(not fixed)
        self.grid = solved.grid
        self.start = solved.scale.float().to(device)
        self.mask = None if bool(solved.kept.all()) else solved.kept.to(device)
        self.parameters = {"scales": torch.zeros_like(self.start).requires_grad_()}
        if not fixed:
            self.parameters["values"] = self._values

    def weight(self, precision: torch.dtype, *, rounded: bool) -> Tensor:
        """[rows, columns] in `precision`."""
        found: Tensor = _OnGrid.apply(self._values, self.parameters["scales"], self, precision, rounded)
        return found

    def settle(self) -> None:
        """Values beyond the grid's ends go back to them."""
        with torch.no_grad():
            self._values.clamp_(self.grid.low, self.grid.high)

    def reset(self) -> None:
        """The solved layer."""
        with torch.no_grad():
            self._values.copy_(self._solved.q)
            self.parameters["scales"].zero_()

    def numbers(self, *, rounded: bool) -> Tensor:
        """The values, those that are not kept zero; [rows, blocks, block]."""
        values = self._values.detach()
        q = values.round() if rounded else values.clone()
        if self.mask is not None:
            q.mul_(self.mask)
        return q.reshape(*self.start.shape, self.grid.block)

    def scale(self) -> Tensor:
        """float32 with f16 values, [rows, blocks]."""
        return (self.start * (1 + self.parameters["scales"].detach())).half().float()

    def solved(self) -> Solved:
        """As it will be stored."""
        q = self.numbers(rounded=True).reshape(self._solved.q.shape).to(torch.int8).cpu()
        return Solved(self.grid, q, self._solved.kept, self.scale().half().cpu())


class _OnGrid(torch.autograd.Function):  # type: ignore[misc]
    """values x scale; one pass each way over a layer that fits the caches, instead of ten."""

    @staticmethod
    def forward(
        ctx: Any, values: Tensor, scales: Tensor, kept: Kept, precision: torch.dtype, rounded: bool
    ) -> Tensor:
        ctx.kept, ctx.rounded = kept, rounded
        weight = kept.numbers(rounded=rounded).mul_(kept.scale()[..., None])
        return weight.reshape(values.shape).to(precision)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        kept: Kept = ctx.kept
        q = kept.numbers(rounded=ctx.rounded)
        gradient = grads[0].float().reshape(q.shape)
        scales = q.mul_(gradient).sum(-1).mul_(kept.start)
        if not ctx.needs_input_grad[0]:
            return None, scales, None, None, None
        values = (gradient * kept.scale()[..., None]).reshape(grads[0].shape)
        if kept.mask is not None:
            values.mul_(kept.mask)
        return values, scales, None, None, None


class Vector:
    """A norm or a bias: itself."""

    def __init__(self, value: Tensor) -> None:
        self._start = value.detach().clone().float()
        self.parameters = {"vectors": self._start.clone().requires_grad_()}

    def weight(self, precision: torch.dtype, *, rounded: bool) -> Tensor:
        """float32, whatever the products' precision."""
        return self.parameters["vectors"]

    def settle(self) -> None:
        """Nothing to do: floats are stored as they are."""

    def reset(self) -> None:
        """The vector it was made of."""
        with torch.no_grad():
            self.parameters["vectors"].copy_(self._start)


class LowRank:
    """`base` + alpha / rank * b a, with `a` [rank, columns] and `b` [rows, rank]; alpha is the rank here.

    Merged for the forward pass: its product is 2 rank / tokens of the layer's own.
    """

    def __init__(self, base: Tensor, rank: int, seed: int) -> None:
        self._base = base.detach()
        random = torch.Generator().manual_seed(seed)
        self._start = torch.randn(rank, base.shape[1], generator=random) / math.sqrt(base.shape[1])
        self.parameters = {
            "a": self._start.to(base.device, copy=True).requires_grad_(),
            "b": torch.zeros(len(base), rank, device=base.device).requires_grad_(),
        }

    def weight(self, precision: torch.dtype, *, rounded: bool) -> Tensor:
        """[rows, columns] in `precision`."""
        return (self._base + self.parameters["b"] @ self.parameters["a"]).to(precision)

    def settle(self) -> None:
        """Nothing to do: adapters are floats."""

    def reset(self) -> None:
        """An addition of nothing."""
        with torch.no_grad():
            self.parameters["a"].copy_(self._start)
            self.parameters["b"].zero_()
