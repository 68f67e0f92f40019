"""The head study's numbers: changes with their intervals, the verdict, what would be saved."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.heads import bench, saving
from engine.heads.experiments import ONLY
from engine.heads.windows import Window
from engine.studies import heads_figure
from engine.studies.kv_reuse import machine
from engine.studies.statistics import ratio

if TYPE_CHECKING:
    from engine.heads.experiments import Arm
    from engine.studies.heads import Found, Plan
    from engine.studies.results import Results

Document = dict[str, Any]
# Classes of bench.Targets: the tokens of uses with an edge, of all identifiers, right behind a use, all.
CLASSES = {"use": {0, 1}, "identifier": {0, 1, 2}, "behind": {3}, "all": {0, 1, 2, 3, 4}}
CONTEXTS = (1024, 4096)
RECOVERY, WORSE, IDENTIFIERS = 0.8, 0.005, 0.0
_TOP = 4
_AS_IS = "model: as it is"


class Scores:
    """The stored results of the plan's windows, paired token by token."""

    def __init__(self, results: Results, windows: Sequence[Window], seed: int) -> None:
        self._results, self._windows, self._seed = results, windows, seed
        self._targets = {window.digest: bench.targets(window) for window in windows}

    def base(self, kinds: set[int], what: str = "nll") -> float:
        """The unchanged model's mean over tokens of `kinds`."""
        above, below = self._sums(None, _AS_IS, kinds, what)
        return sum(above) / max(sum(below), 1)

    def difference(self, arm: str, other: str, kinds: set[int], what: str = "nll") -> list[float] | None:
        """Mean of `arm` minus `other` with its interval, lines of code resampled; None where neither ran."""
        above, below = self._sums(other, arm, kinds, what)
        return _interval(ratio(above, below, seed=self._seed)) if below else None

    def recovered(self, arm: str, without: str) -> list[float] | None:
        """1 - (loss of `arm`) / (loss of `without`), over all tokens; None where that is no sure loss."""
        lost = self.difference(without, _AS_IS, CLASSES["all"])
        if lost is None or lost[1] <= 0:
            return None
        mine, _ = self._sums(_AS_IS, arm, CLASSES["all"], "nll")
        theirs, _ = self._sums(_AS_IS, without, CLASSES["all"], "nll")
        mean, low, high, count = _interval(ratio(mine, theirs, seed=self._seed))
        return [round(1 - mean, 3), round(1 - high, 3), round(1 - low, 3), count]

    def windows(self, arm: str) -> int:
        """On how many windows `arm` has run."""
        return sum(f"{window.digest} {arm}" in self._results for window in self._windows)

    def _sums(
        self, other: str | None, arm: str, kinds: set[int], what: str
    ) -> tuple[list[float], list[float]]:
        """Weighted sums of (differences of) values, and of weights, of each line."""
        above: dict[tuple[str, int], float] = {}
        below: dict[tuple[str, int], float] = {}
        for window in self._windows:
            mine = self._results.get(f"{window.digest} {arm}")
            theirs = self._results.get(f"{window.digest} {other}") if other else mine
            if mine is None or theirs is None:
                continue
            at = self._targets[window.digest]
            for place, kind in enumerate(at.kind):
                if kind in kinds:
                    key = (window.digest, at.line[place])
                    value = float(mine[what][place]) - (float(theirs[what][place]) if other else 0.0)
                    above[key] = above.get(key, 0.0) + value * at.weight[place]
                    below[key] = below.get(key, 0.0) + at.weight[place]
        return list(above.values()), list(below.values())


def _interval(found: Any) -> list[float]:
    return [_short(found.mean), _short(found.low), _short(found.high), found.count]


def _short(value: float) -> float:
    return round(float(value), 5) if math.isfinite(value) else 0.0


def document(found: Found, results: Results, plan: Plan, *, threads: int, command: str) -> Document:
    """Everything that was measured."""
    scores, model = Scores(results, plan.judging, plan.seed), found.trunk.architecture
    rows = [row for arm in found.arms if (row := _row(arm, scores))]
    made: Document = {
        "run": plan.identity,
        "command": command,
        "machine": machine(threads),
        "model": {"layers": model.layers, "heads": model.heads, "kv_heads": model.kv_heads},
        "corpus": {name: _corpus(getattr(plan, name)) for name in found.screens},
        "screen": {metric: _table(values) for metric, values in found.screens["judging"].items()},
        "top": {name: _top(screen) for name, screen in found.screens.items()},
        "heads": [_head(head, found, results) for head in found.heads],
        "base": {name: round(scores.base(kinds), 4) for name, kinds in CLASSES.items()}
        | {"right": round(scores.base({0}, "right"), 4)},
        "arms": rows,
        "against": _against(rows, scores),
        "layers": _layers(model.layers, scores),
        "saving": _saving(found),
    }
    return made | {"verdict": verdict(made)}


def _corpus(windows: Sequence[Window]) -> Document:
    edges = [edge for window in windows for edge in window.edges]
    return {
        "windows": len(windows),
        "names": [window.name for window in windows],
        "tokens": sum(len(window.tokens) for window in windows),
        "edges": len(edges),
        "stale": sum(bool(edge.stale) for edge in edges),
        "definition_is_last": round(
            sum(edge.name[-1] == edge.last[-1] for edge in edges) / max(len(edges), 1), 3
        ),
    }


def _table(values: Any) -> list[list[float]]:
    return [[_short3(one) for one in row] for row in values.tolist()] if values.dim() == 2 else []


def _short3(value: float) -> float:
    return round(value, 3) if math.isfinite(value) else 0.0


def _top(screen: Mapping[str, Any]) -> dict[str, list[list[Any]]]:
    """The first heads of every metric, as (layer, head, value)."""
    found = {}
    for metric, values in screen.items():
        flat = [
            [layer, head, value] for layer, row in enumerate(_table(values)) for head, value in enumerate(row)
        ]
        found[metric] = sorted(flat, key=lambda each: -each[2])[:_TOP]
    return found


def _head(head: Any, found: Found, results: Results) -> Document:
    place = (head.layer, head.head)
    held = {metric: values for metric, values in found.screens["judging"].items() if values.dim() == 2}
    again = {metric: values for metric, values in found.screens["renamed"].items() if values.dim() == 2}
    return {
        "layer": head.layer,
        "head": head.head,
        "kind": head.kind,
        "oracle": head.parts[0].oracle if head.parts else "sink",
        "mass": head.parts[0].mass
        if head.parts
        else round(float(found.screens["finding"]["sink"][place]), 4),
        "constant": round((results.get(f"constant {head.name}") or {"size": 0.0})["size"], 3),
        "judging": {metric: _short3(float(values[place])) for metric, values in held.items()},
        "renamed": {metric: _short3(float(values[place])) for metric, values in again.items()},
    }


def _row(arm: Arm, scores: Scores) -> Document | None:
    changes = {name: scores.difference(arm.name, _AS_IS, kinds) for name, kinds in CLASSES.items()}
    if changes["all"] is None:
        return None
    row: Document = {
        "of": arm.of, "how": arm.how, "replaced": len(arm.edits), "windows": scores.windows(arm.name),
        **changes, "right": scores.difference(arm.name, _AS_IS, {0}, "right"),
    }  # fmt: skip
    if arm.how == "exact":
        row["recovered"] = scores.recovered(arm.name, f"{arm.of}: sink")
    return row


def _against(rows: Sequence[Document], scores: Scores) -> list[Document]:
    """Exact edges minus each substitute of theirs, wherever both ran."""
    found = []
    ways = {(row["of"], row["how"]) for row in rows}
    for of in dict.fromkeys(row["of"] for row in rows):
        for how in ("last", "shuffled", "random", "sink"):
            if {(of, "exact"), (of, how)} <= ways:
                found.append(
                    {"of": of, "exact_minus": how}
                    | {
                        name: scores.difference(f"{of}: exact", f"{of}: {how}", kinds)
                        for name, kinds in CLASSES.items()
                    }
                )
    first, second = "reweighed: definition x4", "reweighed: last occurrence x4"
    for other in (second, "reweighed: shuffled x4"):
        if scores.windows(first) and scores.windows(other):
            changes = {name: scores.difference(first, other, kinds) for name, kinds in CLASSES.items()}
            found.append({"of": "reweighed x4", "exact_minus": other.partition(": ")[2]} | changes)
    return found


def _layers(count: int, scores: Scores) -> list[Document]:
    """What each layer's attention is worth over all tokens: alone, and with definition heads injected."""
    found = []
    for layer in range(count):
        alone = scores.difference(f"layer {layer}: without its attention", _AS_IS, CLASSES["all"])
        injected = scores.difference(
            f"layer {layer}: without, definition heads injected", "all definition: exact", CLASSES["all"]
        )
        if alone and injected:
            found.append({"layer": layer, "alone": alone, "injected": injected})
    return found


def _saving(found: Found) -> list[Document]:
    blocks = found.trunk.blocks
    parameters = sum(weight.numel() for block in blocks for weight in block.weights.values())
    model = found.trunk.architecture
    parameters += model.width * model.vocabulary
    rows = []
    for kind in ("dormant", "previous", "definition", "all"):
        places = {(one.layer, one.head) for one in found.heads if kind in (one.kind, "all")}
        for context in CONTEXTS:
            made = saving.of(model, parameters, places, context)
            rows.append({"kind": kind, "heads": len(places), "context": context} | asdict(made))
    return rows


def verdict(found: Document) -> Document:
    """Whether a whole KV group passes, and whether scope analysis earns anything over the last occurrence.

    `spare` groups cost no more than that without looking at anything: there is nothing to recover.
    """
    base = found["base"]["all"]
    groups: dict[str, dict[str, Document]] = {}
    for row in found["arms"]:
        if row["of"].startswith("group "):
            groups.setdefault(row["of"].removeprefix("group "), {})[row["how"]] = row
    free = {
        (name, how)
        for name, ways in groups.items()
        for how, row in ways.items()
        if row["all"][0] <= WORSE * base and row["identifier"][0] <= IDENTIFIERS
    }
    passing = [
        name
        for name, ways in groups.items()
        if (name, "exact") in free and (ways["exact"]["recovered"] or [0.0])[0] >= RECOVERY
    ]
    better = {
        (row["of"], row["exact_minus"])
        for row in found["against"]
        if row["identifier"] and row["identifier"][2] < 0
    }
    return {
        "groups": len(groups),
        "passing": passing,
        "spare": [name for name in groups if (name, "sink") in free],
        "exact_beats": {
            of: [how for how in ("last", "shuffled", "sink") if (of, how) in better]
            for of in ("all definition", ONLY)
        },
    }


def write(found: Document, out: Path) -> Path:
    """`out` as JSON, a line for each row of a table, and the figure beside it; the figure's path."""
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(_laid_out(found), encoding="utf-8")
    figure = out.with_suffix(".svg")
    figure.write_text(heads_figure.draw(found), encoding="utf-8")
    return figure


def _laid_out(found: Document) -> str:
    """JSON whose lists of numbers stay on a line."""
    parts = []
    for key, value in found.items():
        if isinstance(value, list):
            rows = ",\n  ".join(json.dumps(row) for row in value)
            parts.append(f" {json.dumps(key)}: [\n  {rows}\n ]")
        elif isinstance(value, dict):
            rows = ",\n  ".join(f"{json.dumps(name)}: {json.dumps(row)}" for name, row in value.items())
            parts.append(f" {json.dumps(key)}: {{\n  {rows}\n }}")
        else:
            parts.append(f" {json.dumps(key)}: {json.dumps(value)}")
    return "{\n" + ",\n".join(parts) + "\n}\n"
