"""What is trained in place of a tensor: the scales of a solved layer, a vector, or a low-rank addition.

Each gives the weight it stands for, differentiable in its parameters.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import Tensor

from engine.compress.solver import Solved


class Trained(Protocol):
    """`parameters` are float32 leaves by role: the role decides the learning rate."""

    parameters: dict[str, Tensor]

    def weight(self, precision: torch.dtype) -> Tensor:
        """The tensor as the forward pass uses it, with values that can be stored."""

    def reset(self) -> None:
        """Back to where training began."""


class Scaled:
    """A solved layer whose integers stay: the `scales` of its blocks, as relative changes.

    Gradients go straight through the rounding of a scale to f16.
    """

    def __init__(self, solved: Solved, device: torch.device) -> None:
        self._solved = solved
        self._q = solved.q.to(device)
        self.start = solved.scale.float().to(device)
        self.parameters = {"scales": torch.zeros_like(self.start).requires_grad_()}

    def weight(self, precision: torch.dtype) -> Tensor:
        """[rows, columns] in `precision`."""
        found: Tensor = _OnGrid.apply(self.parameters["scales"], self, precision)
        return found

    def reset(self) -> None:
        """The solved layer."""
        with torch.no_grad():
            self.parameters["scales"].zero_()

    def numbers(self) -> Tensor:
        """The integers as float32, [rows, blocks, block]."""
        return self._q.float().reshape(*self.start.shape, self._solved.grid.block)

    def scale(self) -> Tensor:
        """float32 with f16 values, [rows, blocks]."""
        return (self.start * (1 + self.parameters["scales"].detach())).half().float()

    def solved(self) -> Solved:
        """As it will be stored."""
        return replace(self._solved, scale=self.scale().half().cpu())


class _OnGrid(torch.autograd.Function):  # type: ignore[misc]
    """Integers x scales; for the way back nothing is kept but the layer, where autograd would keep floats."""

    @staticmethod
    def forward(ctx: Any, scales: Tensor, layer: Scaled, precision: torch.dtype) -> Tensor:
        ctx.layer = layer
        return layer.numbers().mul_(layer.scale()[..., None]).flatten(1).to(precision)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        layer: Scaled = ctx.layer
        q = layer.numbers()
        return q.mul_(grads[0].float().reshape(q.shape)).sum(-1).mul_(layer.start), None, None


class Vector:
    """A norm or a bias: itself."""

    def __init__(self, value: Tensor) -> None:
        self._start = value.detach().clone().float()
        self.parameters = {"vectors": self._start.clone().requires_grad_()}

    def weight(self, precision: torch.dtype) -> Tensor:
        """float32, whatever the products' precision."""
        return self.parameters["vectors"]

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

    def weight(self, precision: torch.dtype) -> Tensor:
        """[rows, columns] in `precision`."""
        return (self._base + self.parameters["b"] @ self.parameters["a"]).to(precision)

    def reset(self) -> None:
        """An addition of nothing."""
        with torch.no_grad():
            self.parameters["a"].copy_(self._start)
            self.parameters["b"].zero_()
