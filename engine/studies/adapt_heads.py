"""Heads that a model is adapted to: what each follows in an arm, its constant, the profile for the engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from engine.errors import UsageError
from engine.heads import chosen, experiments, injected, screen
from engine.heads.bench import Bench, Read, Replace
from engine.heads.chosen import Chosen
from engine.heads.injected import Constants
from engine.heads.patterns import Part
from engine.heads.trunk import Trunk
from engine.injection.profile import Head, HeadProfile, Made, Oracle, save
from engine.reference.source import Source
from engine.studies.kv_reuse import Progress
from engine.studies.results import Results

if TYPE_CHECKING:
    from engine.studies.adapt import Plan, Told

How = Literal["exact", "last", "shuffled", "name", "sink"]
LAYERS = 4  # of the lower half, which are left out to see whether they can be
# The product's setting `heads` for the arms that the engine can give.
_SETTINGS: dict[How, str] = {"name": "definitions", "sink": "sink-only"}


@dataclass(frozen=True)
class Found:
    """The heads, and the layers that cost least to leave out."""

    heads: tuple[Chosen, ...]
    layers: tuple[int, ...]


def fitted(plan: Plan, path: Path, results: Results, told: Told) -> Found:
    """The heads of the head study, their constants in every arm, and the cheapest layers."""
    needed = [how for how in plan.arms if f"heads {how}" not in results]
    trunk = Trunk(Source(path), plan.study.tokens + 1)
    reads = [Read(trunk, window) for window in plan.study.finding]
    lower, width = range(trunk.architecture.layers // 2 + 1), trunk.architecture.head_width
    with told() as progress:
        progress.begin(len(reads) + len(needed) + len(lower))
        parts = [_screened(trunk, read, results, progress) for read in reads]
        screens = screen.merged(parts)
        picked = [head for head in chosen.heads(screens, plan.study.heads) if head.kind in plan.kinds]
        if not picked:
            raise UsageError("the model has no such heads", hint="more --kinds, or more --heads")
        bench = Bench(trunk, reads)
        for how in needed:
            edits = edits_of(how, picked, screens)
            bench.fit(edits)
            results.add(f"heads {how}", {"heads": [_as_dict(bench, edit, width) for edit in edits]})
            progress.step(f"constants of {how}", fresh=True)
        costs = {
            layer: _cost(bench, reads[:2], _attention(trunk, layer), results, progress) for layer in lower
        }
    return Found(tuple(picked), tuple(sorted(sorted(costs, key=lambda layer: costs[layer])[:LAYERS])))


def edits_of(how: How, picked: Sequence[Chosen], screens: Mapping[str, Any]) -> tuple[Replace, ...]:
    """The heads replaced: those for definitions as `how`, others exactly in every arm.

    In `name` all definition heads follow exact edges to the definition's name, the one place that the
    engine's edges lead to; in the other arms each head follows what it looks at most.
    """
    made = []
    for head in picked:
        if head.kind != "definition":
            edit = experiments.edits(head, "exact" if head.kind == "previous" else "constant")
        elif how == "name":
            mass = round(float(screens["name"][head.layer, head.head]), 4)
            edit = Replace(head.layer, head.head, (Part("name", mass),))
        else:
            edit = experiments.edits(head, how)
        assert isinstance(edit, Replace)
        made.append(edit)
    return tuple(made)


def stored(results: Results, how: How) -> tuple[tuple[Replace, ...], Constants]:
    """The heads of an arm and their constants, as they were fitted."""
    edits, constants = [], {}
    for row in results.get(f"heads {how}")["heads"]:
        parts = tuple(Part(**part) for part in row["parts"])
        edit = Replace(row["layer"], row["head"], parts, row["given"], row["fitted"])
        edits.append(edit)
        constants[edit] = injected.constant(row["constant"])
    return tuple(edits), constants


def _as_dict(bench: Bench, edit: Replace, width: int) -> dict[str, Any]:
    values = bench.constant(edit).tolist() if edit.fitted else [0.0] * width
    return asdict(edit) | {"constant": [round(value, 7) for value in values]}


def _screened(trunk: Trunk, read: Read, results: Results, progress: Progress) -> Any:
    key = f"screen {read.window.digest}"
    if fresh := key not in results:
        made = screen.window(trunk, read.states, read.window)
        results.add(key, {metric: [count, means] for metric, (count, means) in made.items()})
    progress.step(f"{read.window.name}, screened", fresh=fresh)
    return results.get(key)


def _attention(trunk: Trunk, layer: int) -> list[Replace]:
    """The whole attention of a layer replaced by its mean output."""
    return [Replace(layer, head, (), "mean") for head in range(trunk.architecture.heads)]


def _cost(
    bench: Bench, reads: Sequence[Read], edits: list[Replace], results: Results, progress: Progress
) -> float:
    """NLL of all targets without a layer's attention, in windows that are not judged on."""
    key = f"cost of layer {edits[0].layer}"
    if fresh := key not in results:
        nll = [float(bench.score(read, edits).nll.mean()) for read in reads]
        results.add(key, {"nll": round(sum(nll) / len(nll), 5)})
    progress.step(key, fresh=fresh)
    return float(results.get(key)["nll"])


# Files


def adapter_of(folder: Path, how: How) -> Path:
    """The file of an arm's adapter."""
    return folder / f"{how}.lora.gguf"


def profile_of(folder: Path, how: How) -> Path:
    """The head profile to use it with."""
    return folder / f"{how}.heads.json"


def write_profile(plan: Plan, found: Found, how: How, folder: Path, results: Results) -> None:
    """Write the arm's heads as the engine reads them, if it can give them: with edges to names, or none."""
    edits, constants = stored(results, how)
    if how not in _SETTINGS or injected.given(edits, constants) is None:
        return
    made = []
    for head, edit in zip(found.heads, edits, strict=True):
        share = edit.parts[0].mass if edit.parts else 0.0
        values = tuple(constants[edit].tolist())
        oracle = {"definition": "name", "previous": "previous", "dormant": "sink"}[head.kind]
        rests = how == "sink" and head.kind == "definition"
        made.append(
            Head(
                edit.layer, edit.head, head.kind, cast(Oracle, oracle), share,
                () if rests else values, values if rests else (),
            )
        )  # fmt: skip
    windows = tuple(f"{window.name} {window.digest}" for window in plan.study.finding)
    tokens = sum(len(window.tokens) for window in plan.study.finding)
    name = adapter_of(folder, how).name
    profile = HeadProfile(
        model=plan.study.model, sha256=plan.study.sha256, default=(), boost=0.0, heads=tuple(made),
        why=f"for the adapter {name} only: set adapter to it, and heads to {_SETTINGS[how]}",
        made=Made(f"steerway study adapt {plan.study.model} --arms {how}", windows, tokens),
    )  # fmt: skip
    save(profile, profile_of(folder, how))
