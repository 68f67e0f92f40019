"""One transformer block compressed: stage by stage, so that each sees what the ones before it have become."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from engine.compress.hessian import Hessian, invert
from engine.compress.solver import Method, Solved, solve
from engine.formats import Grid
from engine.reference.architecture import STAGES
from engine.reference.forward import Block

_SEQUENCES = 2


def compress(
    block: Block,
    hidden: Tensor,
    grids: Mapping[str, Grid],
    method: Method,
) -> dict[str, Solved]:
    """Solve the linear layers named in `grids` and put the results into `block.weights`.

    `hidden` [sequences, positions, width] is what the block reads in the model as compressed so far.
    """
    found: dict[str, Solved] = {}
    with torch.no_grad():
        after = hidden
        for at, stage in enumerate(STAGES):
            chosen = [name for name in stage if name in grids]
            read = inputs_of(block, at)
            if chosen:
                hessian = Hessian(block.weights[chosen[0]].shape[1])
                if method != "magnitude":
                    for part in after.split(_SEQUENCES):
                        hessian.add(read(part))
                    inverse = invert(hessian.mean)
                else:
                    inverse = invert(torch.eye(1, dtype=torch.float64))
                for name in chosen:
                    found[name] = solve(block.weights[name], grids[name], method, inverse)
                    block.weights[name] = found[name].weight
            if at == 1:  # the attention is settled: the MLP reads what is behind it
                after = torch.cat([block.attention(part) for part in after.split(_SEQUENCES)])
    return found


def inputs_of(block: Block, stage: int) -> Callable[[Tensor], Tensor]:
    """What the linear layers of STAGES[stage] read, a function of the hidden states before the half-block."""
    readers: tuple[Callable[[Tensor], Tensor], ...] = (
        lambda hidden: block.normed(hidden, 0),
        lambda hidden: block.mixed(block.normed(hidden, 0)),
        lambda hidden: block.normed(hidden, 1),
        lambda hidden: block.gated(block.normed(hidden, 1)),
    )
    return readers[stage]
