"""What a study leaves behind: JSON, a page, a figure, tables on the terminal, and a gate when it passes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from engine.kv import gate
from engine.studies import figure, summary
from engine.studies.kv_reuse import LOADING, Plan, machine
from engine.studies.results import Results

SET_TITLES = {
    "separate": "Separate files: four excerpts of files that the target's file imports",
    "same": "Chunks of one file: the four chunks before the target's lines",
    "edit": "After an edit of two lines in the second of those chunks",
    "keystroke": "A half-typed line before a suffix (fill in the middle)",
}
COLUMNS: tuple[str, ...] = (
    "arm",
    "KL to full",
    "NLL",
    "top-1",
    "lines exact",
    "same line",
    "similarity",
    "gain kept",
    "computed",
)
Document = dict[str, Any]


def write(
    results: Results,
    plan: Plan,
    names: Sequence[str],
    folder: Path,
    *,
    command: str,
    threads: int,
    gates: Path | None,
) -> Document:
    """Write kv-reuse-MODEL.json, .md and .svg of the targets `names` into `folder`; returns the JSON.

    With a folder for gates and a repair that passes, the gate of this model file is written too.
    """
    targets = summary.measured(results, names, plan.arms)
    rows = (results.get(LOADING) or {"rows": []})["rows"] if plan.loading else []
    document = _document(targets, rows, plan, command=command, threads=threads)
    chosen = summary.choose(
        targets, plan.identity, judge=plan.judge, date=document["machine"]["date"], command=command
    )
    document["chosen"] = asdict(chosen) if chosen else None
    document["gate"] = None
    if chosen and not chosen.why and gates is not None:
        study = gate.Study(
            model=plan.model, sha256=plan.sha256, evidence=chosen.evidence, repair=chosen.repair
        )
        saved = gate.save(study, gates)
        document["gate"] = (
            f"{saved.parent.name}/{saved.name}"  # below the state folder: results are published
        )
    stem = folder / f"kv-reuse-{plan.model}"
    stem.with_name(stem.name + ".json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    stem.with_name(stem.name + ".svg").write_text(figure.draw(document), encoding="utf-8")
    stem.with_name(stem.name + ".md").write_text(page(document), encoding="utf-8")
    return document


def _document(
    targets: Sequence[summary.Target], loading: Sequence[Document], plan: Plan, *, command: str, threads: int
) -> Document:
    sets = summary.rows(targets, seed=plan.seed)
    return {
        "run": plan.identity,
        "command": command,
        "machine": machine(threads),
        "targets": {name: sum(target["set"] == name for target in targets) for name in sets},
        "positions": {
            name: sum(target["arms"]["full"]["tokens"] for target in targets if target["set"] == name)
            for name in sets
        },
        "sets": {name: [summary.as_dict(row) for row in rows] for name, rows in sets.items()},
        "loading": list(loading),
    }


def page(document: Document) -> str:
    """The tables as Markdown."""
    run = document["run"]
    parts = [
        f"## {run['model']}\n",
        f"`{document['command']}`\n",
        f"{_sizes(document)}\n",
        f"![KL by arm, and milliseconds to load or compute](kv-reuse-{run['model']}.svg)\n",
    ]
    for name, rows in document["sets"].items():
        parts.append(f"### {SET_TITLES[name]}\n")
        parts.append(_markdown(COLUMNS, [_cells(row) for row in rows]))
    if document["loading"]:
        parts.append("### Load or compute\n")
        parts.append(_markdown(LOADING_COLUMNS, [_loading(row) for row in document["loading"]]))
    parts.append(verdict(document) + "\n")
    return "\n".join(parts)


def show(document: Document) -> None:
    """The tables on the terminal."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=140)
    tables = [
        (SET_TITLES[name], COLUMNS, [_cells(row) for row in rows]) for name, rows in document["sets"].items()
    ]
    if document["loading"]:
        tables.append(("Load or compute", LOADING_COLUMNS, [_loading(row) for row in document["loading"]]))
    for title, columns, rows in tables:
        table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
        for column in columns:
            table.add_column(column, justify="left" if column == "arm" else "right", no_wrap=True)
        for cells in rows:
            table.add_row(*cells)
        console.print(table, "")
    console.print(_sizes(document), style="dim", markup=False)
    console.print(verdict(document), markup=False)


def verdict(document: Document) -> str:
    """Whether the model passes, in one sentence."""
    chosen = document["chosen"]
    if chosen is None:
        return "No repair that the engine runs was among the arms, so nothing is decided."
    found = chosen["evidence"]
    numbers = (
        f"KL {found['kl_files']:.4f} over files, {found['kl_chunks']:.4f} over chunks, lines exact "
        f"{found['match']:.1%} (full attention {found['match_full']:.1%}), "
        f"{chosen['gain_kept']:.1%} of the gain kept"
    )
    told = f"Chosen: `{chosen['arm']}`, with `{chosen['chunks_arm']}` for the edited file: {numbers}."
    if chosen["why"]:
        return f"{told} It does not pass: {chosen['why']}."
    return f"{told} It passes" + (", and the engine uses it from now on." if document["gate"] else ".")


LOADING_COLUMNS: tuple[str, ...] = (
    "tokens",
    "rows",
    "MB",
    "compute ms",
    "from memory",
    "from page cache",
    "from disk",
    "break-even MB/s",
)


def _loading(row: Document) -> tuple[str, ...]:
    disk = "-" if row["disk_ms"] is None else f"{row['disk_ms']:.1f}"
    size = f"{row['bytes'] / 1e6:.1f}"
    times = (f"{row['compute_ms']:.0f}", f"{row['place_ms']:.2f}", f"{row['page_cache_ms']:.2f}", disk)
    return (str(row["tokens"]), row["kind"], size, *times, f"{row['breakeven_mb_s']:.1f}")


def _cells(row: Document) -> tuple[str, ...]:
    def mean(key: str, digits: int = 3) -> str:
        value, low, high, _ = row[key]
        return f"{value:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"

    kept = row["gain_kept"]
    return (
        row["arm"],
        mean("kl", 4),
        f"{row['nll'][0]:.3f}",
        f"{row['top1'][0]:.3f}",
        f"{row['lines'][0]:.1%}",
        f"{row['same_line'][0]:.0%}",
        f"{row['similarity'][0]:.3f}",
        "-" if kept is None else f"{kept[0]:.1%}",
        f"{row['computed']:.0f}",
    )


def _sizes(document: Document) -> str:
    run, where = document["run"], document["machine"]
    counts = ", ".join(
        f"{count} {name} ({document['positions'][name]} positions)"
        for name, count in document["targets"].items()
    )
    return (
        f"Targets: {counts}. Seed {run['seed']}, {len(run['corpus'])} packages: {', '.join(run['corpus'])}. "
        f"{where['processor']}, {where['threads']} threads, load {where['load']}, {where['date']}. "
        "In parentheses: 95 % bootstrap intervals over targets."
    )


def _markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}\n"
    lines = (
        f"| {' | '.join([f'`{row[0]}`' if columns[0] == 'arm' else row[0], *row[1:]])} |\n" for row in rows
    )
    return head + "".join(lines)
