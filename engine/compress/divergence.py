"""The loss of distillation: forward KL over the whole vocabulary, a few positions' logits at a time."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_ROWS = 128


def divergence(student: Tensor, teacher: Tensor, heads: tuple[Tensor, Tensor]) -> Tensor:
    """Mean KL(teacher || student) in nats, differentiable in `student`.

    `student` and `teacher` float32 [positions, width] are what their output layers read; `heads` are these
    layers' weights [vocabulary, width]. The gradient, (q - p) times the weights, is made along with the loss,
    so that the logits of all positions (200 MB for 1,024 of the small model) are never there at once.
    """
    found: Tensor = _Divergence.apply(student, teacher, *heads)
    return found


class _Divergence(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, student: Tensor, teacher: Tensor, ours: Tensor, theirs: Tensor) -> Tensor:
        total = torch.zeros((), device=student.device)
        gradient = torch.empty_like(student)
        for start in range(0, len(student), _ROWS):
            rows = slice(start, start + _ROWS)
            p_log = _log_softmax(teacher[rows], theirs)
            q_log = _log_softmax(student[rows], ours)
            p = p_log.exp()
            total += p_log.sub_(q_log).mul_(p).sum()
            apart = q_log.exp_().sub_(p).to(ours.dtype)
            gradient[rows] = apart @ ours
        ctx.save_for_backward(gradient.div_(len(student)))
        return total / len(student)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return gradient * grads[0], None, None, None


def _log_softmax(states: Tensor, weight: Tensor) -> Tensor:
    return torch.log_softmax((states.to(weight.dtype) @ weight.T).float(), 1)
