"""Recovery of a whole compressed model by distillation: its kept values tuned, or an adapter beside it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from torch import Tensor

from engine.compress import distill, packing, rates
from engine.compress.adapter import Pair
from engine.compress.distill import Checkpoint, Training
from engine.compress.export import Changed
from engine.compress.network import Network, Place
from engine.compress.rounding import rounded, stored
from engine.compress.solver import GROUP
from engine.compress.tokens import SEQUENCE_TOKENS
from engine.compress.trained import Kept, LowRank, Trained, Vector
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
    """What is trained on (`tokens`, and `calibration` for the rounding), how, where, and how that is told."""

    tokens: Tensor
    calibration: Tensor
    plan: Plan
    place: Place
    progress: Callable[[], AbstractContextManager[Progress]]

    def key(self, what: str, training: Training) -> str:
        """16 hex digits of what a result depends on, besides the model."""
        facts = json.dumps({"what": what, "place": str(self.place), **training.identity}, sort_keys=True)
        found = hashlib.sha256(facts.encode())
        for part in (self.tokens, self.calibration):
            found.update(str(tuple(part.shape)).encode() + part.numpy().tobytes())
        return found.hexdigest()[:16]


SEQUENCES = 2  # a step: on a few hundred thousand tokens many small steps get further than few large ones
FREE = 1 / 2  # of the steps, with sparse layers: what scales and norms make up for is worth as many


@dataclass(frozen=True)
class Plan:
    """How long training is, and in how much of it values of sparse layers move before they are rounded."""

    steps: int
    sequences: int = SEQUENCES
    free: float = FREE

    @classmethod
    def of(cls, tokens: int, *, positions: int) -> Plan:
        """For `tokens` in sequences of `positions`."""
        return cls(max(2, tokens // (SEQUENCES * positions)))

    @property
    def freely(self) -> Training:
        """Values, scales, norms, biases: away from the grid."""
        return Training(round(self.steps * self.free), self.sequences, rounded=False)

    @property
    def settling(self) -> Training:
        """Scales, norms, biases: with the values rounded."""
        return Training(self.steps - self.freely.steps, self.sequences, seed=2)

    @property
    def whole(self) -> Training:
        """Of an adapter, which needs no rounding."""
        return Training(self.steps, self.sequences)


def distilled(
    source: Source, changed: Mapping[str, Changed], lesson: Lesson, work: Work
) -> dict[str, Changed]:
    """`changed` with better values and scales on the same mask, and the blocks' norms and biases changed.

    Where there are sparse layers, their values move freely with everything else; then they are rounded, layer
    by layer, so that each column makes up for those before it. Then, or from the beginning where all are
    dense, scales, norms and biases are trained: rounding again costs a dense layer what moving its values
    gains. Only what a file stores as float32 among norms and biases is trained, so that its size stays.
    """
    plan, settled = lesson.plan, dict(changed)
    work.note(_TRIED, {})
    student, teacher = _networks(source, changed, lesson)
    if any(_loose(entry) for entry in changed.values()):
        parts = _parts(source, student, changed, lesson.place, fixed=False)
        training = _trained(student, teacher, parts, lesson, plan.freely, work, "free")
        del student
        kept = work, lesson.key("round", training)
        with lesson.progress() as progress:
            settled |= rounded(source, changed, parts, lesson.calibration, kept, progress)
        del parts
        student, _ = _networks(source, settled, lesson, alone=True)
    else:
        plan = replace(plan, free=0.0)
    parts = _parts(source, student, settled, lesson.place, fixed=True)
    _trained(student, teacher, parts, lesson, plan.settling, work, "settle")
    return settled | {name: stored(part) for name, part in parts.items()}


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
    _trained(student, teacher, parts, lesson, lesson.plan.whole, work, f"lora-{rank}")
    return {name: Pair(_half(part, "a"), _half(part, "b")) for name, part in parts.items()}


def tried(work: Work) -> dict[str, dict[str, float]]:
    """What rates were chosen by: mean KL on training text held back, by what was trained and their factor.

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
    held = weights * (17 + 2 * bytes_each) + every * (4 + 2 * bytes_each) + values * (1 + bytes_each)
    return (400 << 20) + held


def _networks(
    source: Source, changed: Mapping[str, Changed], lesson: Lesson, *, alone: bool = False
) -> tuple[Network, Network]:
    """Student and teacher; with `alone` the student twice."""
    positions = lesson.tokens.shape[1]
    student = Network(source, changed, lesson.place, positions=positions)
    return student, student if alone else Network(source, {}, lesson.place, positions=positions)


def _parts(
    source: Source, student: Network, changed: Mapping[str, Changed], place: Place, *, fixed: bool
) -> dict[str, Trained]:
    parts: dict[str, Trained] = {}
    for layer, block in enumerate(student.blocks):
        for end, tensor in block.tensors().items():
            name = f"blk.{layer}.{end}"
            if name in changed and changed[name].grid is not packing.VECTOR:
                solved = packing.solved(changed[name].grid, changed[name].data)
                parts[name] = Kept(solved, place.device, fixed=fixed or not _loose(changed[name]))
            elif tensor.dim() == 1 and source.entries[name].kind == _F32:
                parts[name] = Vector(tensor)
    if source.entries[OUTPUT_NORM].kind == _F32:
        parts[OUTPUT_NORM] = Vector(student.norm)
    return parts


def _loose(entry: Changed) -> bool:
    """Whether its values may move: what a dense grid's gained is lost when they are rounded."""
    return entry.grid.kept < GROUP


def _trained(
    student: Network,
    teacher: Network,
    parts: Mapping[str, Trained],
    lesson: Lesson,
    training: Training,
    work: Work,
    what: str,
) -> Training:
    """Train at rates that a trial finds, from where a stopped run was; returns what was trained by."""
    trial = f"rates-{what}-{lesson.key(what, training)}"
    with lesson.progress() as progress:
        training = rates.chosen(student, teacher, parts, lesson.tokens, training, (work, trial), progress)
    if noted := work.noted(trial):
        work.note(_TRIED, tried(work) | {what: noted})
    name = f"training-{what}-{lesson.key(what, training)}"
    checkpoint = Checkpoint(lambda: work.state(name), lambda state: work.keep(name, state))
    with lesson.progress() as progress:
        distill.train(student, teacher, parts, lesson.tokens, training, checkpoint, progress)
    return training


def _half(part: LowRank, role: str) -> Tensor:
    return part.parameters[role].detach().cpu().half()
