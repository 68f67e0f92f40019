"""`steerway status`: what Steerway would use here, now."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from journal.commands.common import find_workspace, journal_option, json_option, print_json

if TYPE_CHECKING:
    from journal.document import Cell
    from journal.state import Run
    from journal.workspace import Workspace

MOST_OTHERS = 5


@click.command()
@journal_option
@json_option
def status(journal: Path | None, as_json: bool) -> None:
    """Show the active journal, its current step and last runs, the model, the documents' reuse, the state.

    Where an engine runs, it tells that itself: predicted and actual times, caches, and which of the step's
    documents are encoded already. Nothing is loaded or started.
    """
    report = _report(journal)
    if as_json:
        print_json(report)
    else:
        _show(report)


def _report(path: Path | None) -> dict[str, Any]:
    workspace = find_workspace(path)
    return {
        "workspace": str(workspace.root),
        "journals": [_shown(p, workspace.root) for p in workspace.journals()],
        **_journal(path, workspace),
        "engine": _engine(path, workspace),
        "state": None if workspace.state.in_memory else str(workspace.state.path),
        "problems": list(workspace.state.problems),
    }


def _journal(path: Path | None, workspace: Workspace) -> dict[str, Any]:
    from journal import files

    found = path or workspace.active_journal()
    if found is None:
        return {"journal": None, "title": "", "step": None, "steps": [], "runs": []}
    journal, _ = files.read(found)
    current = workspace.current_step(found, journal)
    key = workspace.key(found)
    return {
        "journal": _shown(found, workspace.root),
        "title": journal.title,
        "step": current.id or current.title if current else None,
        "steps": [_step(step, current) for step in journal.steps],
        "runs": [
            _run(cell, workspace.state.last_run(key, cell.key)) for cell in journal.cells if cell.is_code
        ],
    }


def _step(step: Cell, current: Cell | None) -> dict[str, Any]:
    state = step.meta.get("state", "todo")
    return {"id": step.id, "title": step.title, "state": state, "current": step == current}


def _run(cell: Cell, run: Run | None) -> dict[str, Any]:
    return {
        "cell": cell.id or cell.key,
        "position": cell.index + 1,
        "name": cell.name,
        "kind": cell.kind,
        "exit": run.exit if run else None,
        "ms": round(run.ms) if run else None,
        "ended": run.ended if run else None,
    }


def _engine(path: Path | None, workspace: Workspace) -> dict[str, Any]:
    from engine import settings
    from engine.errors import SteerwayError
    from engine.models import provision
    from engine.runtime.probe import probe
    from journal.commands.running import reuse_report

    chosen = settings.load()
    native = probe()
    try:
        file, problem = str(provision.locate(chosen.model)), ""
    except SteerwayError as error:
        file, problem = None, str(error)
    return {
        "model": chosen.model,
        "file": file,
        "problem": problem,
        "llama_cpp": native.version,
        "features": list(native.features),
        "context_tokens": chosen.context_tokens,
        "document_tokens": chosen.document_tokens,
        **reuse_report(path, workspace, chosen, native),
    }


def _shown(path: Path, root: Path) -> str:
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)


MARKS = {"todo": "○", "doing": "◐", "done": "●", "dropped": "×"}


def _show(report: dict[str, Any]) -> None:
    from engine.standing import describe, describe_caches, describe_cost, describe_heads

    journal = report["journal"] or "none: create one with `steerway new NAME`"
    title = f"  {report['title']}" if report["title"] else ""
    others = [name for name in report["journals"] if name != report["journal"]]
    engine = report["engine"]
    _section("workspace", [report["workspace"]])
    _section("journal", [journal + title])
    _section("others", _abridged(others))
    _section("steps", [_step_line(number, step) for number, step in enumerate(report["steps"], 1)])
    _section("last runs", _run_lines(report["runs"]))
    _section("model", [engine["problem"] or engine["model"]])
    features = ", ".join(engine["features"]) or "none (stock library)"
    _section("llama.cpp", [f"{engine['llama_cpp'] or 'missing'}, patched features: {features}"])
    _section("reuse", describe(engine["reuse"]))
    _section("heads", describe_heads(engine["reuse"]))
    _section("speed", describe_cost(engine["reuse"].get("cost")))
    _section("cache", describe_caches(engine["reuse"]))
    _section("documents", _document_lines(engine["documents"]))
    _section("state", [report["state"] or "in memory, lost at the end", *report["problems"]])


def _section(name: str, lines: list[str]) -> None:
    for number, line in enumerate(lines):
        click.echo(f"{name if number == 0 else '':<11}{line}")


def _abridged(names: list[str]) -> list[str]:
    left_out = len(names) - MOST_OTHERS
    return [*names[:MOST_OTHERS], f"and {left_out} more"] if left_out > 0 else names


def _step_line(number: int, step: dict[str, Any]) -> str:
    mark = MARKS.get(str(step["state"]), "?")
    return f"{'▶' if step['current'] else ' '} {number} {mark} {step['title'] or step['id']}"


def _document_lines(documents: list[dict[str, Any]]) -> list[str]:
    lines = [
        f"{'●' if each['encoded'] else '○'} {each['name']}, {each['tokens']:,} tokens" for each in documents
    ]
    return lines and [f"{sum(each['encoded'] for each in documents)} of {len(lines)} encoded", *lines]


def _run_lines(runs: list[dict[str, Any]]) -> list[str]:
    names = [_label(run) for run in runs]
    width = max(map(len, names), default=0)
    return [f"{name:<{width}}  {_outcome(run)}" for name, run in zip(names, runs, strict=True)]


def _label(run: dict[str, Any]) -> str:
    nameless = f"#{run['position']}" if run["cell"].startswith("@") else run["cell"]
    return str(run["name"] or nameless)


def _outcome(run: dict[str, Any]) -> str:
    if run["ended"] is None:
        return "never"
    when = datetime.fromisoformat(run["ended"]).astimezone().strftime("%Y-%m-%d %H:%M")
    verdict = {0: "ok", None: "interrupted"}.get(run["exit"], f"exit {run['exit']}")
    return f"{verdict:<11}  {run['ms'] / 1000:8.2f} s  {when}"
