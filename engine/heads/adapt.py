"""A model adapted to injected heads: a low-rank addition (LoRA) to every linear layer, by distillation.

The student has the heads injected in each training window, the teacher is the unchanged model, the loss
KL(teacher || student) at every token: the addition can only bring back what injection took away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from engine.compress import distill
from engine.compress.adapter import Pair
from engine.compress.distill import Checkpoint, Training
from engine.compress.divergence import divergence
from engine.compress.network import Network, Place
from engine.compress.trained import LowRank
from engine.heads import injected
from engine.heads.bench import Replace
from engine.heads.injected import Constants
from engine.heads.windows import Window
from engine.reference.architecture import LINEARS, Architecture
from engine.reference.forward import Block, Rotation
from engine.reference.source import Source

if TYPE_CHECKING:
    from engine.studies.kv_reuse import Progress

# What the teacher says is kept for the next arm or round up to here; beyond, it is computed again.
_KEPT_BYTES = 256 << 20


@dataclass(frozen=True)
class Lesson:
    """What an adapter is trained on, and the heads that are injected meanwhile."""

    windows: Sequence[Window]
    edits: Sequence[Replace]
    constants: Constants


def plan(windows: Sequence[Window], tokens: int, *, seed: int) -> Training:
    """A window a step, until `tokens` were seen; at least two steps."""
    mean = sum(len(window.tokens) for window in windows) / max(len(windows), 1)
    return Training(max(2, round(tokens / max(mean, 1))), sequences=1, seed=seed)


class Added(Block):
    """A block with additions to its linear layers, computed beside them: the layers need no gradient."""

    def __init__(self, source: Source, architecture: Architecture, layer: int, rotation: Rotation) -> None:
        super().__init__(source, architecture, layer, rotation)
        self.additions: dict[str, LowRank] = {}

    def linear(self, name: str, inputs: Tensor) -> Tensor:
        """The layer `name` of `inputs` [..., in], and its addition."""
        found = super().linear(name, inputs)
        if (addition := self.additions.get(name)) is None:
            return found
        a, b = addition.parameters["a"], addition.parameters["b"]
        return found + functional.linear(functional.linear(inputs, a), b)


class School:
    """The model of `source` twice: a teacher that stays, and a student whose linear layers get additions."""

    def __init__(self, source: Source, place: Place, *, positions: int) -> None:
        self._teacher = Network(source, {}, place, positions=positions)
        self._student = Network(source, {}, place, positions=positions, block=Added)
        self._place = place
        self._said: dict[str, Tensor] = {}
        self._said_bytes = 0

    def adapter(
        self, lesson: Lesson, *, rank: int, training: Training, checkpoint: Checkpoint, progress: Progress
    ) -> tuple[dict[str, Pair], list[float]]:
        """The addition by tensor, as a file holds it, and the mean KL in nats of each step."""
        parts = self._parts(rank)

        def gradients(rows: Sequence[int]) -> float:
            total = 0.0
            for row in rows:
                loss = self._loss(lesson, lesson.windows[row]) / len(rows)
                loss.backward()
                total += float(loss.detach())
            return total

        found = distill.descend(parts, len(lesson.windows), gradients, training, checkpoint, progress)
        return {name: Pair(_half(part, "a"), _half(part, "b")) for name, part in parts.items()}, found

    def _loss(self, lesson: Lesson, window: Window) -> Tensor:
        tokens = torch.tensor([window.tokens])
        wanted = self._wanted(window, tokens)
        attention = injected.attentions(window, lesson.edits, lesson.constants, self._place.device)
        states = self._student.states(tokens, attention)
        return divergence(states, wanted, (self._student.head, self._teacher.head))

    def _wanted(self, window: Window, tokens: Tensor) -> Tensor:
        if window.digest not in self._said:
            with torch.no_grad():
                states = self._teacher.states(tokens)
            if self._said_bytes + states.nbytes > _KEPT_BYTES:
                return states
            self._said[window.digest] = states
            self._said_bytes += states.nbytes
        return self._said[window.digest]

    def _parts(self, rank: int) -> dict[str, LowRank]:
        parts: dict[str, LowRank] = {}
        for layer, block in enumerate(self._student.blocks):
            assert isinstance(block, Added)
            for name in LINEARS:
                block.additions[name] = LowRank(block.weights[name], rank, seed=len(parts))
                parts[f"blk.{layer}.{name}.weight"] = block.additions[name]
        return parts


def read(path: Path) -> dict[str, Pair]:
    """The additions in the adapter `path`, by the tensors they belong to. Raises ModelFileCorrupt."""
    source = Source(path)
    names = [name.removesuffix(".lora_a") for name in source.entries if name.endswith(".lora_a")]
    return {
        name: Pair(source.tensor(f"{name}.lora_a").half(), source.tensor(f"{name}.lora_b").half())
        for name in names
    }


def _half(part: LowRank, role: str) -> Tensor:
    return part.parameters[role].detach().cpu().half()
