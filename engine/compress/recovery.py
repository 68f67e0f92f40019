"""Recovery of a whole compressed model by distillation: its kept values tuned, or an adapter beside it."""

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
from engine.compress.block import compress
from engine.compress.distill import Checkpoint, Training
from engine.compress.export import Changed
from engine.compress.network import Network, Place
from engine.compress.tokens import SEQUENCE_TOKENS
from engine.compress.trained import Kept, LowRank, Trained, Vector
from engine.compress.work import Work
from engine.reference import architecture, forward
from engine.reference.architecture import EMBEDDING, OUTPUT_NORM
from engine.reference.source import Source

if TYPE_CHECKING:
    from engine.studies.kv_reuse import Progress

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
FREE = 1 / 2  # of the steps: what scales and norms make up for the rounding by is worth as many


@dataclass(frozen=True)
class Plan:
    """How long training is, and with how much of it values move freely before they are rounded."""

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

    First everything moves freely; then the values are rounded, layer by layer, so that each column makes up
    for those before it; then scales, norms and biases are trained on. Only what a file stores as float32
    among norms and biases is trained, so that its size stays.
    """
    student, teacher = _networks(source, changed, lesson)
    parts = _parts(source, student, changed, lesson.place, fixed=False)
    training = _trained(student, teacher, parts, lesson, lesson.plan.freely, work, "free")
    del student
    key = lesson.key("round", training)
    settled = dict(changed) | _rounded(source, changed, parts, lesson, work, key)
    del parts
    student, _ = _networks(source, settled, lesson, alone=True)
    parts = _parts(source, student, settled, lesson.place, fixed=True)
    _trained(student, teacher, parts, lesson, lesson.plan.settling, work, "settle")
    return settled | {name: _stored(part) for name, part in parts.items()}


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


def tried(lesson: Lesson, work: Work, *, rank: int | None = None) -> dict[str, dict[str, float]]:
    """What rates were chosen by: mean KL on training text held back, by what was trained and their factor.

    Empty where training was too short for it.
    """
    plan = lesson.plan
    phases = {"free": plan.freely, "settle": plan.settling} if rank is None else {f"lora-{rank}": plan.whole}
    found = {what: work.noted(_trial(lesson, what, training)) for what, training in phases.items()}
    return {what: noted for what, noted in found.items() if noted}


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
                parts[name] = Kept(solved, place.device, fixed=fixed)
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
    training: Training,
    work: Work,
    what: str,
) -> Training:
    """Train at rates that a trial finds, from where a stopped run was; returns what was trained by."""
    kept = work, _trial(lesson, what, training)
    with lesson.progress() as progress:
        training = rates.chosen(student, teacher, parts, lesson.tokens, training, kept, progress)
    name = f"training-{what}-{lesson.key(what, training)}"
    checkpoint = Checkpoint(lambda: work.state(name), lambda state: work.keep(name, state))
    with lesson.progress() as progress:
        distill.train(student, teacher, parts, lesson.tokens, training, checkpoint, progress)
    return training


def _trial(lesson: Lesson, what: str, training: Training) -> str:
    return f"rates-{what}-{lesson.key(what, training)}"


def _rounded(
    source: Source,
    changed: Mapping[str, Changed],
    parts: Mapping[str, Trained],
    lesson: Lesson,
    work: Work,
    key: str,
) -> dict[str, Changed]:
    """The trained values on their grid again, on their mask, on activations of what is rounded already.

    Finished layers are kept under `key`.
    """
    found = architecture.of(source)
    turn = forward.rotation(source, found, lesson.calibration.shape[1])
    shipped = source.tensor(EMBEDDING)
    entry = changed.get(EMBEDDING)
    table = shipped if entry is None else packing.unpack(entry.grid, entry.data)
    hidden = forward.embed(table, lesson.calibration)
    rounded: dict[str, Changed] = {}
    with lesson.progress() as progress:
        progress.begin(found.layers)
        for at in range(found.layers):
            block = forward.Block(source, found, at, turn)
            mine = {name: part for name, part in parts.items() if name.startswith(f"blk.{at}.")}
            name = f"round-{key}-{at}"
            tensors = work.load(name)
            if fresh := tensors is None:
                tensors = _block_rounded(block, mine, hidden)
                work.save(name, tensors)
            for tensor, entry in tensors.items():
                end = tensor.split(".", 2)[2]
                block.put(end, packing.unpack(entry.grid, entry.data).reshape(block.tensors()[end].shape))
            rounded |= tensors
            hidden = block(hidden)
            progress.step(f"layer {at} rounded", fresh=fresh)
    if OUTPUT_NORM in parts:
        rounded[OUTPUT_NORM] = _stored(parts[OUTPUT_NORM])
    return rounded


def _block_rounded(block: forward.Block, parts: Mapping[str, Trained], hidden: Tensor) -> dict[str, Changed]:
    grids, masks, found = {}, {}, {}
    for name, part in parts.items():
        end = name.split(".", 2)[2]
        block.put(end, part.weight(torch.float32, rounded=False).detach().cpu())
        if isinstance(part, Kept):
            grids[end.removesuffix(".weight")] = part.grid
            masks[end.removesuffix(".weight")] = part.solved().kept
        else:
            found[name] = _stored(part)
    for kind, solved in compress(block, hidden, grids, "sparsegpt", masks).items():
        found[f"blk.{block.layer}.{kind}.weight"] = Changed(solved.grid, packing.pack(solved))
    return found


def _half(part: LowRank, role: str) -> Tensor:
    return part.parameters[role].detach().cpu().half()


def _stored(part: Trained) -> Changed:
    if isinstance(part, Kept):
        solved = part.solved()
        return Changed(solved.grid, packing.pack(solved))
    values = part.weight(torch.float32, rounded=True).detach().cpu()
    return Changed(packing.VECTOR, packing.pack_vector(values))
