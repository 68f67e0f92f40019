"""Recovery of a whole compressed model by distillation: scales and norms tuned, or an adapter beside it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from engine.compress import distill, packing, rates
from engine.compress.adapter import Pair
from engine.compress.distill import Checkpoint, Training
from engine.compress.export import Changed
from engine.compress.network import Network, Place
from engine.compress.tokens import SEQUENCE_TOKENS
from engine.compress.trained import LowRank, Scaled, Trained, Vector
from engine.compress.work import Work
from engine.reference import architecture
from engine.reference.architecture import OUTPUT_NORM
from engine.reference.source import Source

if TYPE_CHECKING:
    from engine.studies.kv_reuse import Progress

_TRIED = "rates"
_F32 = 0  # ggml's number of the type


@dataclass(frozen=True)
class Lesson:
    """What is trained on, how, where, and how that is told."""

    tokens: Tensor
    training: Training
    place: Place
    progress: Callable[[], AbstractContextManager[Progress]]

    def key(self, what: str, training: Training) -> str:
        """16 hex digits of what a result depends on, besides the model."""
        facts = json.dumps({"what": what, "place": str(self.place), **training.identity}, sort_keys=True)
        found = hashlib.sha256(facts.encode())
        found.update(str(tuple(self.tokens.shape)).encode() + self.tokens.numpy().tobytes())
        return found.hexdigest()[:16]


SEQUENCES = 2  # a step: on a few hundred thousand tokens many small steps get further than few large ones


def planned(tokens: int, *, positions: int) -> Training:
    """For `tokens` in sequences of `positions`."""
    return Training(max(2, tokens // (SEQUENCES * positions)), SEQUENCES)


def distilled(
    source: Source, changed: Mapping[str, Changed], lesson: Lesson, work: Work
) -> dict[str, Changed]:
    """`changed` with better scales, and the blocks' norms and biases changed; integers and masks stay.

    One number for 64 weights is what a few hundred thousand tokens can teach (end-to-end training of
    quantisation parameters: EfficientQAT, arXiv:2407.11062). Only what a file stores as float32 among norms
    and biases is trained, so that its size stays.
    """
    student, teacher = _networks(source, changed, lesson)
    parts = _parts(source, student, changed, lesson.place)
    _trained(student, teacher, parts, lesson, work, "scales")
    return dict(changed) | {name: _stored(part) for name, part in parts.items()}


def adapted(
    source: Source, changed: Mapping[str, Changed], lesson: Lesson, work: Work, *, rank: int
) -> dict[str, Pair]:
    """A low-rank addition to each linear layer in `changed`, which stays as it is."""
    student, teacher = _networks(source, changed, lesson)
    parts: dict[str, LowRank] = {}
    for layer, block in enumerate(student.blocks):
        for end, tensor in block.tensors().items():
            if (name := f"blk.{layer}.{end}") in changed:
                parts[name] = LowRank(tensor, rank, seed=len(parts))
    _trained(student, teacher, parts, lesson, work, f"lora-{rank}")
    return {name: Pair(_half(part, "a"), _half(part, "b")) for name, part in parts.items()}


def tried(work: Work) -> dict[str, float]:
    """What rates were chosen by: mean KL on training text held back, by their factor.

    Empty where training was too short for it.
    """
    return work.noted(_TRIED) or {}


def memory_bytes(source: Source, names: Mapping[str, Changed] | Mapping[str, Any], place: Place) -> int:
    """About the most that distillation holds: parameters with their moments and gradients, two models'
    weights, the activations of the sequences that go through at once.
    """
    found = architecture.of(source)
    weights = sum(source.entries[name].elements for name in names)
    every = sum(entry.elements for entry in source.entries.values())
    bytes_each = int(place.precision.itemsize)
    inner = source.shape("blk.0.ffn_up.weight")[0]
    values = SEQUENCES * SEQUENCE_TOKENS * found.layers * (12 * found.width + 8 * inner)
    held = weights * (3 + 2 * bytes_each) + every * (4 + 2 * bytes_each) + values * (1 + bytes_each)
    return (700 << 20) + held


def _networks(source: Source, changed: Mapping[str, Changed], lesson: Lesson) -> tuple[Network, Network]:
    """Student and teacher."""
    positions = lesson.tokens.shape[1]
    student = Network(source, changed, lesson.place, positions=positions)
    return student, Network(source, {}, lesson.place, positions=positions)


def _parts(
    source: Source, student: Network, changed: Mapping[str, Changed], place: Place
) -> dict[str, Trained]:
    parts: dict[str, Trained] = {}
    for layer, block in enumerate(student.blocks):
        for end, tensor in block.tensors().items():
            name = f"blk.{layer}.{end}"
            if name in changed:
                parts[name] = Scaled(packing.solved(changed[name].grid, changed[name].data), place.device)
            elif tensor.dim() == 1 and source.entries[name].kind == _F32:
                parts[name] = Vector(tensor)
    if source.entries[OUTPUT_NORM].kind == _F32:
        parts[OUTPUT_NORM] = Vector(student.norm)
    return parts


def _trained(
    student: Network,
    teacher: Network,
    parts: Mapping[str, Trained],
    lesson: Lesson,
    work: Work,
    what: str,
) -> None:
    """Train at rates that a trial finds, from where a stopped run was."""
    kept = work, f"rates-{what}-{lesson.key(what, lesson.training)}"
    with lesson.progress() as progress:
        training = rates.chosen(student, teacher, parts, lesson.tokens, lesson.training, kept, progress)
    work.note(_TRIED, work.noted(kept[1]) or {})
    name = f"training-{what}-{lesson.key(what, training)}"
    checkpoint = Checkpoint(lambda: work.state(name), lambda state: work.keep(name, state))
    with lesson.progress() as progress:
        distill.train(student, teacher, parts, lesson.tokens, training, checkpoint, progress)


def _half(part: LowRank, role: str) -> Tensor:
    return part.parameters[role].detach().cpu().half()


def _stored(part: Trained) -> Changed:
    if isinstance(part, Scaled):
        solved = part.solved()
        return Changed(solved.grid, packing.pack(solved))
    return Changed(packing.VECTOR, packing.pack_vector(part.weight(torch.float32).detach().cpu()))
