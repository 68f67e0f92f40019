"""How much a linear layer's inputs matter: X'X over calibration tokens, and what a solver needs of it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

DAMPING = 0.01


class Hessian:
    """Sums x x' over inputs of `columns` values. 8 * columns^2 bytes."""

    def __init__(self, columns: int) -> None:
        self.sum = torch.zeros(columns, columns, dtype=torch.float64)
        self.tokens = 0

    def add(self, inputs: Tensor) -> None:
        """Inputs float32 [..., columns]."""
        rows = inputs.reshape(-1, inputs.shape[-1])
        self.sum += rows.T @ rows
        self.tokens += len(rows)

    @property
    def mean(self) -> Tensor:
        """E[x x'], float64 [columns, columns]."""
        return self.sum / max(self.tokens, 1)


@dataclass(frozen=True)
class Inverse:
    """`factor`: the upper Cholesky factor of the damped inverse, float32; factor[j, j]^2 is what column j's
    inverse has on its diagonal once the columns before it are settled (GPTQ, arXiv:2210.17323, 3.3).

    `norms` float32: root of each input's second moment. `dead`: inputs that are always zero.
    """

    factor: Tensor
    norms: Tensor
    dead: Tensor


def invert(moments: Tensor, *, damping: float = DAMPING) -> Inverse:
    """Of E[x x'] float64 [columns, columns], damped by `damping` of the mean of its diagonal.

    Damped ten times more, up to twice the mean, while the factorisation fails.
    """
    diagonal = moments.diagonal()
    dead = diagonal <= 0
    damped = moments.clone()
    damped[dead, dead] = 1.0
    mean = float(diagonal[~dead].mean()) if not bool(dead.all()) else 1.0
    eye = torch.eye(len(damped), dtype=damped.dtype)
    while True:
        lower, failed = torch.linalg.cholesky_ex(damped + damping * mean * eye)
        if not int(failed):
            inverse = torch.cholesky_inverse(lower)
            upper, failed = torch.linalg.cholesky_ex((inverse + inverse.T) / 2, upper=True)
            if not int(failed):
                return Inverse(upper.float(), diagonal.clamp(min=0).sqrt().float(), dead)
        if damping > 2:
            raise ArithmeticError("the inputs' moments cannot be inverted: are they finite?")
        damping *= 10


def output_error(moments: Tensor, weight: Tensor, solved: Tensor) -> float:
    """E[|(W - V) x|^2] / E[|W x|^2]: the relative squared error of a layer's output."""
    apart, whole = (weight - solved).double(), weight.double()
    total = (whole @ moments * whole).sum()
    return float((apart @ moments * apart).sum() / total.clamp(min=1e-30))
