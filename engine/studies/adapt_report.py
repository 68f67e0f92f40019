"""The adaptation study's numbers: what injection costs, what comes back, and what edges are worth then."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.studies.adapt import AS_IS, IN_ENGINE, How, names_of, pruned, without
from engine.studies.heads_report import CLASSES, Scores
from engine.studies.kv_reuse import machine
from engine.studies.statistics import ratio

if TYPE_CHECKING:
    from engine.studies.adapt import Found, Plan
    from engine.studies.results import Results

Document = dict[str, Any]
FILE = "adapt.json"
# Arms with edges to definitions, and those they are held against.
EXACT: tuple[How, ...] = ("exact", "name")
CONTROLS: tuple[How, ...] = ("last", "shuffled", "sink")


class Shares(Scores):
    """Scores, and what is gone of a loss."""

    def gone(self, arm: str, lost: str, kinds: set[int], what: str) -> list[float] | None:
        """1 - (loss of `arm`) / (loss of `lost`) with its interval; None where `lost` is no sure loss."""
        sure = self.difference(lost, AS_IS, kinds, what)
        if sure is None or sure[1] <= 0:
            return None
        mine, _ = self._sums(AS_IS, arm, kinds, what)
        theirs, _ = self._sums(AS_IS, lost, kinds, what)
        found = ratio(mine, theirs, seed=self._seed)
        return [round(1 - found.mean, 3), round(1 - found.high, 3), round(1 - found.low, 3), found.count]


def document(found: Found, results: Results, plan: Plan, *, threads: int, command: str) -> Document:
    """Everything that was measured."""
    scores = Shares(results, plan.study.judging, plan.study.seed)
    return {
        "run": plan.identity,
        "command": command,
        "machine": machine(threads),
        "heads": [
            vars(head) | {"parts": [vars(part) for part in head.parts]} for head in found.heads
        ],
        "judged": {
            "windows": [f"{window.name} {window.digest}" for window in plan.study.judging],
            "tokens": sum(len(window.tokens) for window in plan.study.judging),
            "edges": sum(len(window.edges) for window in plan.study.judging),
        },
        "training": _training(plan, results),
        "base": {name: round(scores.base(kinds), 4) for name, kinds in CLASSES.items()}
        | {"right": round(scores.base({0}, "right"), 4)},
        "arms": [_row(name, scores) for how in plan.arms for name in names_of(how)],
        "recovered": [_recovered(how, scores) for how in plan.arms],
        "against": [
            _against(how, control, scores)
            for how in EXACT for control in CONTROLS if {how, control} <= set(plan.arms)
        ],
        "layers": _layers(plan, found, scores),
        "engine": _engine(plan, results),
    }  # fmt: skip


def _training(plan: Plan, results: Results) -> Document:
    names = [window.name.partition("/")[0] for window in plan.lessons]
    return {
        "windows": len(plan.lessons),
        "tokens": sum(len(window.tokens) for window in plan.lessons),
        "packages": len(set(names)),
        "kl": {how: results.get(f"trained {how}")["kl"] for how in plan.arms},
    }


def _row(name: str, scores: Scores) -> Document:
    """Changes against the unchanged model: NLL by class, accuracy on uses, and KL of all tokens."""
    return {
        "arm": name,
        **{each: scores.difference(name, AS_IS, kinds) for each, kinds in CLASSES.items()},
        "right": scores.difference(name, AS_IS, {0}, "right"),
        "kl": scores.difference(name, AS_IS, CLASSES["all"], "kl"),
    }


def _recovered(how: How, scores: Shares) -> Document:
    """The share of the injected heads' loss that is gone, by NLL and by KL, of all tokens and by class.

    None where injection alone is no sure loss.
    """
    heads, both, _ = names_of(how)
    return {"arm": how} | {
        f"{what} {name}": scores.gone(both, heads, kinds, what)
        for what in ("nll", "kl")
        for name, kinds in CLASSES.items()
    }


def _against(how: How, control: How, scores: Scores) -> Document:
    """The edges of `how` minus those of `control`, before and after each was adapted to."""
    found: Document = {"edges": how, "minus": control}
    for place, stage in enumerate(("injected", "adapted", "adapter alone")):
        mine, theirs = names_of(how)[place], names_of(control)[place]
        found[stage] = {name: scores.difference(mine, theirs, kinds) for name, kinds in CLASSES.items()}
        found[stage]["right"] = scores.difference(mine, theirs, {0}, "right")
        found[stage]["kl"] = scores.difference(mine, theirs, CLASSES["all"], "kl")
    return found


def _layers(plan: Plan, found: Found, scores: Scores) -> list[Document]:
    """What leaving out layers' attention costs over all tokens: the unchanged model, and adapted ones."""
    bases = {"unchanged": AS_IS} | {how: names_of(how)[1] for how in plan.arms}
    return [
        {"layers": list(left)}
        | {name: scores.difference(without(base, left), base, CLASSES["all"]) for name, base in bases.items()}
        for left in pruned(found.layers)
    ]


def _engine(plan: Plan, results: Results) -> list[Document]:
    """Mean NLL of the same targets in PyTorch and in llama.cpp, and how far single tokens are apart."""
    rows = []
    for name in (AS_IS, *(name for how in plan.arms for name in names_of(how)[:2])):
        pairs = [
            (results.get(f"{window.digest} {name}"), results.get(f"engine {window.digest} {name}"))
            for window in plan.study.judging[:IN_ENGINE]
        ]
        if any(theirs is None for _, theirs in pairs):
            continue
        ours = [value for mine, _ in pairs for value in mine["nll"]]
        theirs = [value for _, his in pairs for value in his["nll"]]
        apart = [abs(a - b) for a, b in zip(ours, theirs, strict=True)]
        rows.append(
            {
                "arm": name,
                "torch": round(sum(ours) / len(ours), 4),
                "llama.cpp": round(sum(theirs) / len(theirs), 4),
                "apart": round(sum(apart) / len(apart), 4),
                "tokens": len(ours),
            }
        )
    return rows


def write(found: Document, folder: Path) -> Path:
    """`found` as JSON in `folder`, a line for each row; the file."""
    path = folder / FILE
    parts = []
    for key, value in found.items():
        rows = value if isinstance(value, list) else None
        inner = ",\n  ".join(json.dumps(row) for row in rows) if rows else json.dumps(value)
        parts.append(f" {json.dumps(key)}: [\n  {inner}\n ]" if rows else f" {json.dumps(key)}: {inner}")
    path.write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")
    return path


# On a terminal and in Markdown


COLUMNS = ("", "all tokens", "identifiers", "uses", "behind uses", "uses right, points", "KL")


def tables(found: Document) -> list[tuple[str, tuple[str, ...], list[tuple[str, ...]]]]:
    """(title, columns, rows) of each table."""
    made = [
        (
            "Change against the unchanged model",
            COLUMNS,
            [(row["arm"], *_cells(row)) for row in found["arms"]],
        ),
        (
            "Recovered: the share of the loss by injection that adaptation takes back",
            ("heads follow", "NLL", "KL"),
            [(row["arm"], _share(row["nll all"]), _share(row["kl all"])) for row in found["recovered"]],
        ),
    ]
    if found["against"]:
        rows = [
            (f"{row['edges']} minus {row['minus']}, {stage}", *_cells(row[stage]))
            for row in found["against"]
            for stage in ("injected", "adapted", "adapter alone")
        ]
        made.append(("What exact edges are worth", COLUMNS, rows))
    columns = [name for name in found["layers"][0] if name != "layers"]
    rows = [
        (" ".join(map(str, row["layers"])), *(_change(row[name]) for name in columns))
        for row in found["layers"]
    ]
    made.append(("Without the attention of layers", ("layers", *columns), rows))
    if found["engine"]:
        keys = ("torch", "llama.cpp", "apart")
        engine = [(row["arm"], *(f"{row[key]:.4f}" for key in keys)) for row in found["engine"]]
        made.append((f"NLL in the engine, {found['engine'][0]['tokens']} tokens", ("", *keys), engine))
    return made


def page(found: Document) -> str:
    """All tables as Markdown."""
    parts = []
    for title, columns, rows in tables(found):
        lines = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
        parts.append("\n".join([f"{title}:\n", *lines, *(f"| {' | '.join(row)} |" for row in rows)]))
    return "\n\n".join(parts) + "\n"


def show(found: Document) -> None:
    """Print them."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=200)
    for title, columns, rows in tables(found):
        console.print(f"{title}:\n")
        table = Table(box=None, pad_edge=False, header_style="bold")
        for place, column in enumerate(columns):
            table.add_column(column, justify="right" if place else "left", no_wrap=True)
        for row in rows:
            table.add_row(*row)
        console.print(table)
        console.print()


def _cells(row: Document) -> tuple[str, ...]:
    right = row["right"]
    return (
        *(_change(row[name]) for name in ("all", "identifier", "use", "behind")),
        f"{100 * right[0]:+.1f} ({100 * right[1]:+.1f} to {100 * right[2]:+.1f})" if right else "",
        _change(row["kl"]),
    )


def _change(found: Sequence[float] | None) -> str:
    return f"{found[0]:+.4f} ({found[1]:+.4f} to {found[2]:+.4f})" if found else ""


def _share(found: Sequence[float] | None) -> str:
    return f"{found[0]:.2f} ({found[1]:.2f} to {found[2]:.2f})" if found else ""
