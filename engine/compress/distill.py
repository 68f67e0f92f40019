"""Distillation: a compressed model trained to give the shipped model's distributions again.

The loss is KL(shipped || compressed) of every next token (Hinton et al., arXiv:1503.02531), the optimiser
Adam. Knows neither which tensors are trained nor how they are stored: `trained.Trained` does.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from engine.compress.divergence import divergence
from engine.compress.network import Network
from engine.compress.trained import Trained

if TYPE_CHECKING:
    from engine.studies.kv_reuse import Progress

_MICRO_SEQUENCES = 2  # what goes through the model at once
CHECKPOINT_SECONDS = 180.0
_REPORTS = 100

# Peak learning rates of Adam by role. A step moves a scale by about such a share of itself.
RATES = {"scales": 0.004, "vectors": 0.002, "a": 0.002, "b": 0.002}


@dataclass(frozen=True)
class Training:
    """`steps` of `sequences` each."""

    steps: int
    sequences: int = 4
    warm_up: float = 0.05
    rates: Mapping[str, float] = field(default_factory=lambda: dict(RATES))
    seed: int = 2

    @property
    def identity(self) -> dict[str, Any]:
        """What the result depends on."""
        return {
            "steps": self.steps, "sequences": self.sequences, "seed": self.seed,
            "warm_up": self.warm_up, "rates": dict(self.rates), "distill": 3,
        }  # fmt: skip

    def pace(self, step: int) -> float:
        """The share of the peak rate at `step`: up in a line, down in a cosine to a twentieth."""
        rising = max(1, round(self.warm_up * self.steps))
        if step < rising:
            return (step + 1) / rising
        through = (step - rising) / max(1, self.steps - rising)
        return 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * through))


class Checkpoint:
    """Where a state is kept between runs."""

    def __init__(
        self, load: Callable[[], dict[str, Any] | None], save: Callable[[dict[str, Any]], None]
    ) -> None:
        self.load, self.save = load, save


Groups = dict[str, list[Tensor]]  # parameters by role

# From the places of a step's examples to their mean loss, whose gradients the parameters have then.
Gradients = Callable[[Sequence[int]], float]


def train(
    student: Network,
    teacher: Network,
    parts: Mapping[str, Trained],
    tokens: Tensor,
    training: Training,
    checkpoint: Checkpoint,
    progress: Progress,
) -> None:
    """Train `parts`, which stand in `student` for the tensors they are named after.

    `tokens` int64 [sequences, positions] are gone through in a new order each time. A stopped run goes on at
    its last checkpoint, and the result is the same.
    """

    def gradients(rows: Sequence[int]) -> float:
        return _step(student, teacher, parts, tokens[list(rows)])

    descend(parts, len(tokens), gradients, training, checkpoint, progress)


def descend(
    parts: Mapping[str, Trained],
    count: int,
    gradients: Gradients,
    training: Training,
    checkpoint: Checkpoint,
    progress: Progress,
) -> list[float]:
    """As `train`, on `count` examples of any kind; the loss of each step, those of stopped runs too."""
    groups: Groups = {}
    for part in parts.values():
        for role, parameter in part.parameters.items():
            groups.setdefault(role, []).append(parameter)
    optimiser = torch.optim.Adam(
        [{"params": found, "rate": training.rates[role]} for role, found in groups.items()],
        betas=(0.9, 0.95), eps=1e-12, fused=True,
    )  # fmt: skip
    state = checkpoint.load()
    done = _restore(state, groups, optimiser)
    found: list[float] = list(state.get("losses", ())) if state else []
    every = max(1, training.steps // _REPORTS)
    progress.begin(math.ceil(training.steps / every))
    saved, recent = time.monotonic(), 0.0
    for step in range(training.steps):
        if step >= done:
            for group in optimiser.param_groups:
                group["lr"] = group["rate"] * training.pace(step)
            found.append(gradients(_rows(count, training, step)))
            recent += found[-1]
            optimiser.step()
            optimiser.zero_grad()
            if time.monotonic() - saved > CHECKPOINT_SECONDS:
                checkpoint.save(_state(step + 1, groups, optimiser, found))
                saved = time.monotonic()
        if (step + 1) % every == 0 or step + 1 == training.steps:
            progress.step(f"step {step + 1}: KL {recent / every:.3f}", fresh=step >= done)
            recent = 0.0
    checkpoint.save(_state(training.steps, groups, optimiser, found))
    return found


def apart(student: Network, teacher: Network, parts: Mapping[str, Trained], tokens: Tensor) -> float:
    """Mean KL(teacher || student) in nats with `parts` as they are, over `tokens` [sequences, positions]."""
    total = 0.0
    with torch.no_grad():
        for name, part in parts.items():
            student.put(name, part.weight(student.place.precision))
        for rows in tokens.split(_MICRO_SEQUENCES):
            loss = divergence(student.states(rows), teacher.states(rows), (student.head, teacher.head))
            total += float(loss) * len(rows)
    return total / len(tokens)


def _step(student: Network, teacher: Network, parts: Mapping[str, Trained], batch: Tensor) -> float:
    """Gradients of the mean loss over `batch`, and that loss.

    The weights are made once and are leaves for the passes of all sequences; their gradient then goes on to
    the parameters.
    """
    precision = student.place.precision
    made = {name: part.weight(precision) for name, part in parts.items()}
    leaves = {name: weight.detach().requires_grad_() for name, weight in made.items()}
    for name, leaf in leaves.items():
        student.put(name, leaf)
    total = 0.0
    for part in batch.split(_MICRO_SEQUENCES):
        with torch.no_grad():
            wanted = teacher.states(part)
        loss = divergence(student.states(part), wanted, (student.head, teacher.head))
        share = len(part) / len(batch)
        (loss * share).backward()
        total += float(loss.detach()) * share
    torch.autograd.backward(list(made.values()), [leaf.grad for leaf in leaves.values()])
    return total


def _rows(count: int, training: Training, step: int) -> list[int]:
    """The examples of a step, of `count`: each round takes all of them in an order of its own."""
    places = range(step * training.sequences, (step + 1) * training.sequences)
    orders: dict[int, Tensor] = {}
    rows = []
    for place in places:
        turn, at = divmod(place, count)
        if turn not in orders:
            random = torch.Generator().manual_seed(training.seed * 1009 + turn)
            orders[turn] = torch.randperm(count, generator=random)
        rows.append(int(orders[turn][at]))
    return rows


def _state(step: int, groups: Groups, optimiser: torch.optim.Adam, losses: list[float]) -> dict[str, Any]:
    return {
        "step": step, "parameters": dict(groups), "optimiser": optimiser.state_dict(), "losses": losses,
    }  # fmt: skip


def _restore(state: dict[str, Any] | None, groups: Groups, optimiser: torch.optim.Adam) -> int:
    if state is None:
        return 0
    with torch.no_grad():
        for key, parameters in groups.items():
            for parameter, stored in zip(parameters, state["parameters"][key], strict=True):
                parameter.copy_(stored)
    optimiser.load_state_dict(state["optimiser"])
    return int(state["step"])
