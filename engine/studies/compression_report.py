"""The compression study for people: the table on a terminal, the page, the figure, the JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.studies import pareto
from engine.studies.forms import BASELINE
from engine.studies.kv_reuse import machine
from engine.studies.results import Results
from engine.studies.statistics import bootstrap

if TYPE_CHECKING:
    from engine.studies.compression import Plan

Document = dict[str, Any]
COLUMNS = (
    "form", "bits", "MB a token", "perplexity, prose", "code", "KL", "same first", "lines exact",
    "speed", "made in",
)  # fmt: skip


def document(found: Results, plan: Plan, *, threads: int, command: str) -> Document:
    """Everything that was measured, in the plan's order."""
    rows = [found.get(form.name) for form in plan.forms if form.name in found]
    return {
        "run": plan.identity,
        "command": command,
        "machine": machine(threads),
        "rows": [_row(row, plan.seed) for row in rows],
        "recovered": recovered({row["name"]: row for row in rows}),
    }


def _row(row: Mapping[str, Any], seed: int) -> Document:
    right = bootstrap([float(each) for each in row["lines"]], seed=seed)
    return {
        "name": row["name"],
        "family": row["family"],
        "linear_bits": row["sizes"]["linear_bits"],
        "read_mb": round(row["sizes"]["read_bytes"] / 1e6, 1),
        "file_mb": round(row["sizes"]["bytes"] / 1e6, 1),
        "text_ratio": row["quality"]["text_ratio"],
        "code_ratio": row["quality"]["code_ratio"],
        "kl": row["quality"]["kl"],
        "top1": row["quality"]["top1"],
        "lines": [right.mean, right.low, right.high],
        "speed": row["shipped_ms"] / row["token_ms"],
        "token_ms": row["token_ms"],
        "seconds": row["seconds"],
        "simulated": row["simulated"],
        **({"rates": row["rates"]} if "rates" in row else {}),
    }


def recovered(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Of each recovered form: the share of the log-perplexity gap to the shipped file that is closed."""
    found = {}
    for name, row in rows.items():
        plain = rows.get(name.split(", ")[0])
        if plain is None or plain is row:
            continue
        shares = {}
        for kind in ("text_ratio", "code_ratio"):
            before, after = (math.log(each["quality"][kind]) for each in (plain, row))
            shares[kind.removesuffix("_ratio")] = round(1 - after / before, 3) if before > 0 else 0.0
        found[name] = shares
    return found


def write(found: Document, folder: Path) -> None:
    """`compression.json` and `compression.svg` in `folder`."""
    (folder / "compression.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    (folder / "compression.svg").write_text(figure(found), encoding="utf-8")


def figure(found: Document) -> str:
    """The Pareto plot."""
    points = [
        pareto.Point(row["name"], row["read_mb"], max(row["text_ratio"], row["code_ratio"]), row["family"])
        for row in found["rows"]
    ]
    where = found["machine"]
    caption = f"{found['run']['calibration_tokens']:,} tokens of calibration; {where['processor']}"
    return pareto.draw(f"Fewer bits and zeros: {found['run']['model']}", caption, points)


def cells(row: Document) -> tuple[str, ...]:
    """One row of the table as text."""
    mean, low, high = row["lines"]
    return (
        row["name"],
        f"{row['linear_bits']:.2f}",
        f"{row['read_mb']:.0f}",
        _times(row["text_ratio"]),
        _times(row["code_ratio"]),
        f"{row['kl']:.3f}",
        f"{row['top1']:.1%}",
        f"{mean:.0%} ({low:.0%} to {high:.0%})",
        f"{row['speed']:.2f}x",
        f"{row['seconds']:.0f} s" if row["name"] != BASELINE else "",
    )


def _times(ratio: float) -> str:
    return f"{ratio:.3f}x" if ratio < 10 else f"{ratio:,.0f}x"


def page(found: Document) -> str:
    """The table and the figure's facts as Markdown."""
    lines = [f"| {' | '.join(COLUMNS)} |", "|" + "---|" * len(COLUMNS)]
    lines += [f"| {' | '.join(cells(row))} |" for row in found["rows"]]
    lines += ["", f"`{found['command']}`"]
    return "\n".join(lines) + "\n"


def show(found: Document) -> None:
    """Print the table."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=160)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in COLUMNS:
        table.add_column(column, justify="left" if column == "form" else "right")
    for row in found["rows"]:
        table.add_row(*cells(row))
    console.print(table)
    for name, shares in found["recovered"].items():
        parts = ", ".join(f"{share:.0%} on {kind}" for kind, share in shares.items())
        console.print(f"{name}: closes {parts} of the gap in log-perplexity", style="dim")
    _say_what_is_not(found["rows"], console.print)


def _say_what_is_not(rows: Sequence[Document], say: Any) -> None:
    gone = [row["name"] for row in rows if max(row["text_ratio"], row["code_ratio"]) > 2]
    if gone:
        say(f"not usable (perplexity more than doubles): {', '.join(gone)}", style="dim")
