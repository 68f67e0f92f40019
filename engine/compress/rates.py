"""How fast to train: rates tried in short trainings, judged on training text that these do not see.

Which are right depends on the model and on how much there is to recover: three times what two models bear
takes the larger one from a KL of 0.26 to 0.34. A trial has its own fall to slow rates, so that quick ones
are not judged in the middle of their noise (the bias of short horizons: Wu et al., arXiv:1803.02021).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from engine.compress import distill
from engine.compress.distill import Checkpoint, Training
from engine.compress.network import Network
from engine.compress.trained import Trained
from engine.compress.work import Work

if TYPE_CHECKING:
    from engine.studies.kv_reuse import Progress

FACTORS = (1.0, 1 / 3, 1 / 9)  # of distill.RATES
_HELD = 8  # sequences
_STEPS = (4, 12)  # of a trial: a sixteenth of the training's, but not fewer or more
_BETTER = 0.98  # of the KL: with as much to gain, quick ones get further on many steps
_DIVERGED = 1e6  # nats, for a KL that is no number any more: JSON has none for it
_WORTH = 32  # steps of a training that are worth trials
_NOWHERE = Checkpoint(lambda: None, lambda _: None)


def chosen(
    student: Network,
    teacher: Network,
    parts: Mapping[str, Trained],
    tokens: Tensor,
    training: Training,
    kept: tuple[Work, str],
    progress: Progress,
) -> Training:
    """`training` at the best of FACTORS; `parts` are where they began.

    Slower ones are tried as long as they are better. `kept` is where an earlier run has noted what it found,
    under which name. A training too short to try anything on stays as it is.
    """
    if training.steps < _WORTH or len(tokens) < 2 * _HELD:
        return training
    steps = min(max(_STEPS[0], training.steps // 16), _STEPS[1])
    work, name = kept
    noted = work.noted(name) or {}
    found: dict[float, float] = {}
    best = FACTORS[0]
    progress.begin(len(FACTORS) * (steps + 1))
    rows = torch.linspace(0, len(tokens) - 1, _HELD).round().long()
    seen = torch.ones(len(tokens), dtype=torch.bool).index_fill(0, rows, False)
    for factor in FACTORS:
        fresh = (key := f"{factor:.3f}") not in noted
        if fresh:
            trial = replace(_scaled(training, factor), steps=steps, warm_up=0.25)
            distill.train(student, teacher, parts, tokens[seen], trial, _NOWHERE, _Within(progress))
            apart = distill.apart(student, teacher, parts, tokens[rows])
            noted[key] = apart if math.isfinite(apart) else _DIVERGED
            work.note(name, noted)
            for part in parts.values():
                part.reset()
        found[factor] = noted[key]
        progress.step(f"rates x {factor:.2f}: KL {found[factor]:.3f}", fresh=fresh)
        if found[factor] < _BETTER * found[best]:
            best = factor
        elif factor != best:
            break
    return _scaled(training, best)


def _scaled(training: Training, factor: float) -> Training:
    return replace(training, rates={role: rate * factor for role, rate in training.rates.items()})


class _Within:
    """The steps of a trial, whose number was told before."""

    def __init__(self, progress: Progress) -> None:
        self.step = progress.step

    def begin(self, total: int) -> None:
        """Nothing to do."""
