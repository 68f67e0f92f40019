"""What is done to chosen heads, one at a time and together: names of arms and the edits they stand for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from engine.heads import chosen
from engine.heads.bench import Edit, Replace, Reweigh
from engine.heads.chosen import Chosen
from engine.reference.architecture import Architecture

GROUPS = 4
REWEIGHED = 6
FACTORS = (2.0, 4.0, 16.0)
SCOPE_FACTORS = (1.5, 3.0)
ONLY = "definition, at names only"


@dataclass(frozen=True)
class Arm:
    """One way to change the model; `of` and `how` are its row and column in tables."""

    of: str
    how: str
    edits: tuple[Edit, ...]

    @property
    def name(self) -> str:
        """Unique within a run."""
        return f"{self.of}: {self.how}"


def arms(found: Mapping[str, Tensor], heads: Sequence[Chosen], model: Architecture) -> list[list[Arm]]:
    """All of them in stages, the more telling ones first: a run that is stopped has those on all windows."""
    return [
        [*_together(heads), *_groups(found, model), *_reweighed(heads, model)],
        [arm for head in heads for arm in _alone(head) if arm.how in _FIRST],
        _layers(heads, model),
        [arm for head in heads for arm in _alone(head) if arm.how not in _FIRST],
    ]


def edits(head: Chosen, how: str) -> Edit:
    """One head replaced: exact, last, shuffled, random, sink (its share goes there), constant, mean.

    `sink` has a fitted constant, `constant` is the sink's value alone, `mean` the fitted constant alone.
    """
    made = Replace(head.layer, head.head, head.parts)
    if how in ("sink", "constant"):
        return replace(made, parts=(), fitted=how == "sink")
    if how in ("last", "shuffled", "random", "mean"):
        return replace(made, given=how, parts=() if how == "mean" else head.parts)  # type: ignore[arg-type]
    return made


_WAYS = {
    "definition": ("exact", "last", "shuffled", "random", "sink", "mean"),
    "previous": ("exact", "sink", "mean"),
    "dormant": ("constant", "sink", "mean"),
}
# Of single heads: what recovery and the worth of scope analysis are computed from.
_FIRST = {"exact", "last", "sink", "constant"}


def _alone(head: Chosen) -> list[Arm]:
    return [Arm(f"head {head.name}", how, (edits(head, how),)) for how in _WAYS[head.kind]]


def _together(heads: Sequence[Chosen]) -> list[Arm]:
    found = []
    for kind, ways in _WAYS.items():
        own = [head for head in heads if head.kind == kind]
        found += [Arm(f"all {kind}", how, tuple(edits(head, how) for head in own)) for how in ways if own]
    definition = [head for head in heads if head.kind == "definition"]
    for how in ("exact", "last", "shuffled", "sink") if definition else ():
        only = tuple(
            replace(edit, only=True) for head in definition if isinstance(edit := edits(head, how), Replace)
        )
        found.append(Arm(ONLY, how, only))
    previous = tuple(edits(head, "mean") for head in heads if head.kind == "previous")
    if definition and previous:
        both = (*previous, *(edits(head, "exact") for head in definition))
        found.append(Arm("all previous", "mean, definition heads injected", both))
    best = {"definition": "exact", "previous": "exact", "dormant": "constant"}
    found.append(Arm("all kinds", "exact", tuple(edits(head, best[head.kind]) for head in heads)))
    found.append(Arm("all kinds", "sink", tuple(edits(head, "sink") for head in heads)))
    return found


def _groups(found: Mapping[str, Tensor], model: Architecture) -> list[Arm]:
    made = []
    size = model.heads // model.kv_heads
    for layer, group in chosen.groups(found, model.kv_heads, GROUPS):
        members = [chosen.mixture(found, layer, group * size + one) for one in range(size)]
        for how in ("exact", "sink"):
            made.append(Arm(f"group {layer}.{group}", how, tuple(edits(head, how) for head in members)))
    return made


def _reweighed(heads: Sequence[Chosen], model: Architecture) -> list[Arm]:
    best = [head for head in heads if head.kind == "definition"][:REWEIGHED]
    if not best:
        return []

    def arm(how: str, given: str, factor: float) -> Arm:
        changed = tuple(
            Reweigh(head.layer, head.head, head.parts[0].oracle, given, factor)  # type: ignore[arg-type]
            for head in best
        )
        return Arm("reweighed", f"{how} x{factor:g}", changed)

    everywhere = tuple(
        Reweigh(layer, head, "name", "exact", FACTORS[1])
        for layer in sorted({one.layer for one in best})
        for head in range(model.heads)
    )
    return [
        *(arm("definition", "exact", factor) for factor in FACTORS),
        arm("last occurrence", "last", FACTORS[1]),
        arm("shuffled", "shuffled", FACTORS[1]),
        *(arm("names in scope", "scope", factor) for factor in SCOPE_FACTORS),
        Arm("reweighed", f"definition x{FACTORS[1]:g}, all heads of their layers", everywhere),
    ]


def _layers(heads: Sequence[Chosen], model: Architecture) -> list[Arm]:
    injected = [edits(head, "exact") for head in heads if head.kind == "definition"]
    found = []
    for layer in range(model.layers // 2 + 1):
        gone = tuple(Replace(layer, head, (), "mean") for head in range(model.heads))
        kept = tuple(edit for edit in injected if edit.layer != layer)
        found.append(Arm(f"layer {layer}", "without its attention", gone))
        if injected:
            found.append(Arm(f"layer {layer}", "without, definition heads injected", (*gone, *kept)))
    return found
