"""Which type each group of layers should have, so that the file fits a budget and the least is lost.

First the loss of each choice alone: mean KL from the shipped model's distributions when only that group is
changed. Then, from all as shipped, the swaps that cost least KL for each byte saved until the budget is met,
as if losses added up. Then mutations that stay within the budget, kept when the model as a whole gets closer
(after EvoPress, arXiv:2410.14649). A group is what the layers of a stage make: one of q, k and v alone hardly
shows in a measurement of a few hundred tokens.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from engine.compress import export, work
from engine.compress.block import inputs_of
from engine.compress.export import Changed
from engine.compress.hessian import Hessian, invert
from engine.compress.packing import pack, unpack
from engine.compress.quality import compare
from engine.compress.solver import solve
from engine.compress.tokens import Data
from engine.compress.work import Work
from engine.errors import UsageError
from engine.formats import FORMATS, Grid
from engine.reference import architecture, forward
from engine.reference.architecture import EMBEDDING, OUTPUT, STAGES
from engine.reference.source import Source

if TYPE_CHECKING:
    from engine.studies.kv_reuse import Progress

SHIPPED = "shipped"
LAYER_TYPES = ("s24_0", "i3_0", "q4_0", "q5_0", "q8_0")
OUTER_TYPES = ("q4_0", "q5_0", "q8_0")
MUTATIONS = 60
SEQUENCES = 2
SEED = 1
LEAST_GAIN = 1e-6  # nats: below it, float32's own noise


@dataclass(frozen=True)
class Group:
    """Tensors that get one type; `sizes` in bytes by type, SHIPPED among them, smaller types only."""

    name: str
    tensors: tuple[str, ...]
    sizes: Mapping[str, int]

    @property
    def layer(self) -> int:
        """Its block; -1 of embedding and output."""
        return int(self.name.split(".")[1]) if self.name.startswith("blk.") else -1


Choice = dict[str, str]


def groups(source: Source, layers: int, chosen: Mapping[str, Grid]) -> list[Group]:
    """What is chosen for: the stages of blocks with tensors in `chosen`, the embedding, the output layer."""
    found = []
    for layer in range(layers):
        for stage in STAGES:
            names = tuple(name for kind in stage if (name := f"blk.{layer}.{kind}.weight") in chosen)
            if names:
                found.append(_group(source, f"blk.{layer}.{stage[0]}", names, LAYER_TYPES))
    outer = [name for name in (EMBEDDING, OUTPUT) if name in source]
    return [*found, *(_group(source, name, (name,), OUTER_TYPES) for name in outer)]


def _group(source: Source, name: str, tensors: tuple[str, ...], types: tuple[str, ...]) -> Group:
    shipped = sum(source.raw(tensor).size for tensor in tensors)
    sizes = {SHIPPED: shipped}
    for kind in types:
        grid = FORMATS[kind]
        if all(grid.fits(source.shape(tensor)[1]) for tensor in tensors):
            size = sum(source.entries[t].elements // grid.block * grid.block_bytes for t in tensors)
            if size < shipped:
                sizes[kind] = size
    return Group(name, tensors, sizes)


def cheapest(options: list[Group], losses: Mapping[str, Mapping[str, float]], room: int) -> Choice:
    """The least loss a byte saved, as if losses added up, until all sizes together are at most `room` bytes.

    Raises UsageError when even the smallest of everything is more.
    """
    choice = {group.name: SHIPPED for group in options}
    total = sum(group.sizes[SHIPPED] for group in options)
    least = sum(min(group.sizes.values()) for group in options)
    if least > room:
        raise UsageError(
            f"the smallest this model becomes is {least} bytes of weights", hint=f"the budget has {room}"
        )
    while total > room:
        swaps = [
            (
                (losses[g.name][kind] - losses[g.name][choice[g.name]]) / (g.sizes[choice[g.name]] - size),
                g,
                kind,
            )
            for g in options
            for kind, size in g.sizes.items()
            if size < g.sizes[choice[g.name]]
        ]
        _, group, kind = min(swaps, key=lambda swap: swap[0])
        total += group.sizes[kind] - group.sizes[choice[group.name]]
        choice[group.name] = kind
    return choice


def mutated(options: list[Group], choice: Choice, room: int, chance: random.Random) -> Choice | None:
    """One group made smaller and others larger while that fits; None when this draw changes nothing."""
    found = dict(choice)
    first = chance.choice(options)
    smaller = [kind for kind, size in first.sizes.items() if size < first.sizes[found[first.name]]]
    if smaller:
        found[first.name] = chance.choice(smaller)
    left = room - sum(group.sizes[found[group.name]] for group in options)
    for group in chance.sample(options, len(options)):
        now = group.sizes[found[group.name]]
        larger = [kind for kind, size in group.sizes.items() if now < size <= now + left]
        if group is not first and larger:
            found[group.name] = chance.choice(larger)
            left -= group.sizes[found[group.name]] - now
            if chance.random() < 0.5:
                break
    return found if found != choice else None


@dataclass
class Trial:
    """Measures choices: the shipped model's states before each block for a few calibration sequences."""

    source: Source
    tokens: Tensor
    library: Work
    _states: list[Tensor] = field(default_factory=list)

    @cached_property
    def _shipped_head(self) -> forward.Head:
        return forward.Head.of(self.source, architecture.of(self.source))

    def prepare(self, options: list[Group], data: Data, progress: Progress) -> None:
        """Every group in every type, solved on the shipped model's activations; the states to start from."""
        found = architecture.of(self.source)
        turn = forward.rotation(self.source, found, self.tokens.shape[1])
        hidden = forward.embed(self.source.tensor(EMBEDDING), data.calibration)
        state = forward.embed(self.source.tensor(EMBEDDING), self.tokens)
        for layer in range(found.layers):
            block = forward.Block(self.source, found, layer, turn)
            self._states.append(state)
            mine = [group for group in options if group.layer == layer]
            hidden, fresh = self._solve(block, mine, hidden)
            state = block(state)
            progress.step(f"layer {layer}", fresh=fresh)
        self._states.append(state)
        for group in (group for group in options if group.layer < 0):
            if self.library.load(group.name) is None:
                self.library.save(group.name, _rounded(self.source, group))

    def _solve(self, block: forward.Block, mine: list[Group], hidden: Tensor) -> tuple[Tensor, bool]:
        fresh = False
        between = hidden
        with torch.no_grad():
            for at, stage in enumerate(STAGES):
                group = next((g for g in mine if g.name.endswith(stage[0])), None)
                if group is not None and self.library.load(group.name) is None:
                    self.library.save(group.name, _solved(block, group, at, between))
                    fresh = True
                if at == 1:
                    between = torch.cat([block.attention(part) for part in between.split(SEQUENCES)])
            return torch.cat([block.mlp(part) for part in between.split(SEQUENCES)]), fresh

    def loss(self, options: list[Group], choice: Choice) -> float:
        """Mean KL in nats from the shipped model, of the model with `choice`.

        Blocks before the first change are not computed again.
        """
        changed = [group for group in options if choice.get(group.name, SHIPPED) != SHIPPED]
        weights: dict[str, Tensor] = {}
        found = architecture.of(self.source)
        first = min((group.layer for group in changed), default=found.layers)
        for group in changed:
            if group.layer < 0:
                weights |= self._weights(group, choice[group.name])
        embedded = EMBEDDING in weights
        first = 0 if embedded else found.layers if first < 0 else first
        state = forward.embed(weights[EMBEDDING], self.tokens) if embedded else self._states[first]
        turn = forward.rotation(self.source, found, self.tokens.shape[1])
        for layer in range(first, found.layers):
            block = forward.Block(self.source, found, layer, turn)
            for group in changed:
                if group.layer == layer:
                    made = self._weights(group, choice[group.name])
                    block.weights.update({name.split(".")[2]: weight for name, weight in made.items()})
            state = block(state)
        heads = (self._shipped_head, self._head(weights))
        return compare(heads, self.tokens, self._states[-1], state).kl

    def _weights(self, group: Group, kind: str) -> dict[str, Tensor]:
        stored = self.library.load(group.name) or {}
        return {t: unpack(stored[f"{t}#{kind}"].grid, stored[f"{t}#{kind}"].data) for t in group.tensors}

    def _head(self, weights: Mapping[str, Tensor]) -> forward.Head:
        head = self._shipped_head
        name = OUTPUT if OUTPUT in self.source else EMBEDDING
        return forward.Head(head.norm, weights.get(name, head.weight), head.epsilon)


def _solved(block: forward.Block, group: Group, stage: int, hidden: Tensor) -> dict[str, Changed]:
    read = inputs_of(block, stage)
    names = [name.split(".")[2] for name in group.tensors]
    hessian = Hessian(block.weights[names[0]].shape[1])
    for part in hidden.split(SEQUENCES):
        hessian.add(read(part))
    inverse = invert(hessian.mean)
    found = {}
    for kind in group.sizes.keys() - {SHIPPED}:
        for name, tensor in zip(names, group.tensors, strict=True):
            solved = solve(block.weights[name], FORMATS[kind], "sparsegpt", inverse)
            found[f"{tensor}#{kind}"] = Changed(FORMATS[kind], pack(solved))
    return found


def _rounded(source: Source, group: Group) -> dict[str, Changed]:
    (name,) = group.tensors
    weights = source.tensor(name).numpy()
    grids = {kind: FORMATS[kind] for kind in group.sizes.keys() - {SHIPPED}}
    return {f"{name}#{kind}": Changed(grid, grid.encode(weights)) for kind, grid in grids.items()}


def run(
    source: Source,
    data: Data,
    chosen: Mapping[str, Grid],
    budget: int,
    base: Path,
    sha256: str,
    progress: Progress,
) -> dict[str, Grid]:
    """A type for each tensor that should change, so that all tensors together take at most `budget` bytes.

    `chosen` names the linear layers that may change. Resumable: what was solved and measured is kept below
    `base` until the next search of the same model and calibration. Raises UsageError when nothing fits.
    """
    layers = architecture.of(source).layers
    options = groups(source, layers, chosen)
    room = budget - export.data_bytes(source, {}) + sum(group.sizes[SHIPPED] for group in options)
    identity: dict[str, Any] = {"source": sha256, "data": data.digest, "tensors": sorted(chosen), "search": 1}
    with work.opened(base, identity) as library:
        trial = Trial(source, data.calibration[:SEQUENCES], library)
        single = [(group, kind) for group in options for kind in group.sizes if kind != SHIPPED]
        cheapest(options, {g.name: dict.fromkeys(g.sizes, 0.0) for g in options}, room)  # does anything fit?
        progress.begin(layers + len(single) + MUTATIONS)
        trial.prepare(options, data, progress)
        losses = _alone(trial, options, single, library, progress)
        choice = _evolved(trial, options, cheapest(options, losses, room), room, progress)
    names = {group.name: group.tensors for group in options}
    return {t: FORMATS[kind] for name, kind in choice.items() if kind != SHIPPED for t in names[name]}


def _alone(
    trial: Trial, options: list[Group], single: list[tuple[Group, str]], library: Work, progress: Progress
) -> dict[str, dict[str, float]]:
    losses: dict[str, dict[str, float]] = library.noted("losses") or {}
    for group, kind in single:
        row = losses.setdefault(group.name, {SHIPPED: 0.0})
        fresh = kind not in row
        if fresh:
            row[kind] = trial.loss([group], {group.name: kind})
            library.note("losses", losses)
        progress.step(f"{group.name} as {kind}: KL {row[kind]:.4f}", fresh=fresh)
    return {group.name: {SHIPPED: 0.0, **losses.get(group.name, {})} for group in options}


def _evolved(trial: Trial, options: list[Group], choice: Choice, room: int, progress: Progress) -> Choice:
    chance = random.Random(SEED)
    best = trial.loss(options, choice)
    for _ in range(MUTATIONS):
        other = mutated(options, choice, room, chance)
        if other is not None and (loss := trial.loss(options, other)) < best - LEAST_GAIN:
            choice, best = other, loss
        progress.step(f"KL {best:.4f}", fresh=True)
    return choice
