"""Recovery by blocks: what is kept is tuned until a half-block's output is the shipped model's again.

The integers move by straight-through gradients in units of their grid, the scales by their own; the mask
stays. Attention and MLP one after the other, each against what the shipped model has at that place, so that a
block also makes up for what the blocks before it lost (block reconstruction as in BRECQ, arXiv:2102.05426,
scales as in LSQ, arXiv:1902.08153).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from engine.compress.solver import Solved
from engine.reference.forward import Block

_SEQUENCES = 2
_HALVES = ("attn", "ffn")


@dataclass(frozen=True)
class Recovery:
    """`steps` of Adam a half-block, `sequences` each; rates in grid steps, and relative for scales."""

    steps: int = 150
    sequences: int = 2
    rate: float = 0.03
    scale_rate: float = 0.002
    seed: int = 1


def blocks(
    layer: Block,
    shipped: Mapping[str, Tensor],
    solved: Mapping[str, Solved],
    inputs: Tensor,
    taught: Tensor,
    recovery: Recovery,
) -> dict[str, Solved]:
    """`solved` with better integers and scales, never a worse half-block on the calibration itself.

    `inputs` and `taught` [sequences, positions, width] are what the block reads in the compressed and in the
    shipped model. `layer.weights` becomes what is returned.
    """
    found = dict(solved)
    passes: tuple[Callable[[Tensor], Tensor], ...] = (layer.attention, layer.mlp)
    for half, forward in zip(_HALVES, passes, strict=True):
        layer.weights.update(shipped)
        taught = _apply(forward, taught)
        layer.weights.update({name: entry.weight for name, entry in found.items()})
        mine = {name: entry for name, entry in found.items() if name.startswith(half)}
        if mine:
            found |= _tune(layer, mine, forward, inputs, taught, recovery)
        inputs = _apply(forward, inputs)
    return found


def _apply(forward: Callable[[Tensor], Tensor], hidden: Tensor) -> Tensor:
    with torch.no_grad():
        return torch.cat([forward(part) for part in hidden.split(_SEQUENCES)])


def _tune(
    layer: Block,
    solved: Mapping[str, Solved],
    forward: Callable[[Tensor], Tensor],
    inputs: Tensor,
    targets: Tensor,
    recovery: Recovery,
) -> dict[str, Solved]:
    before = _loss(forward, inputs, targets)
    tuned = {name: _Tuned(entry) for name, entry in solved.items()}
    optimiser = torch.optim.Adam(
        [
            {"params": [part.values for part in tuned.values()], "lr": recovery.rate},
            {"params": [part.factors for part in tuned.values()], "lr": recovery.scale_rate},
        ],
        betas=(0.9, 0.95),
    )
    fall = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: 0.5 * (1 + math.cos(math.pi * step / max(recovery.steps, 1)))
    )
    random = torch.Generator().manual_seed(recovery.seed + layer.layer)
    size = float((targets - inputs).square().mean().clamp(min=1e-12))
    for _ in range(recovery.steps):
        chosen = torch.randperm(len(inputs), generator=random)[: recovery.sequences]
        layer.weights.update({name: part.weight() for name, part in tuned.items()})
        loss = functional.mse_loss(forward(inputs[chosen]), targets[chosen]) / size
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        fall.step()
    found = {name: part.solved() for name, part in tuned.items()}
    layer.weights.update({name: entry.weight for name, entry in found.items()})
    if _loss(forward, inputs, targets) < before:
        return found
    layer.weights.update({name: entry.weight for name, entry in solved.items()})
    return dict(solved)


def _loss(forward: Callable[[Tensor], Tensor], inputs: Tensor, targets: Tensor) -> float:
    return float((_apply(forward, inputs) - targets).square().mean())


class _Tuned:
    """A layer under tuning: `values` in units of the grid, `factors` on the scales they started with."""

    def __init__(self, solved: Solved) -> None:
        self._solved = solved
        self._scale = solved.scale.float()
        self.values = solved.q.float().requires_grad_()
        self.factors = torch.zeros_like(self._scale, requires_grad=True)

    def weight(self) -> Tensor:
        """float32 [rows, columns], exactly what would be stored, with gradients past both roundings."""
        grid = self._solved.grid
        inside = self.values.clamp(grid.low, grid.high)
        whole = inside + (inside.round() - inside).detach()
        scale = self._scale * (1 + self.factors)
        stored = scale + (scale.half().float() - scale).detach()
        return whole * self._solved.kept * stored.repeat_interleave(grid.block, dim=1)

    def solved(self) -> Solved:
        """What `weight` is made of."""
        grid, kept = self._solved.grid, self._solved.kept
        with torch.no_grad():
            q = (self.values.clamp(grid.low, grid.high).round() * kept).to(torch.int8)
            return Solved(grid, q, kept, (self._scale * (1 + self.factors)).half())
