"""`steerway status`: what Steerway would use here, now."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from journal.commands.common import find_workspace, journal_option, json_option, print_json


@click.command()
@journal_option
@json_option
def status(journal: Path | None, as_json: bool) -> None:
    """Show the workspace, its active journal and current step, the model and the last runs."""
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
        "engine": _engine(),
    }


def _journal(path: Path | None, workspace: Any) -> dict[str, Any]:
    from journal import files

    found = path or workspace.active_journal()
    if found is None:
        return {"journal": None, "step": None, "steps": [], "runs": []}
    journal, _ = files.read(found)
    current = workspace.current_step(found, journal)
    key = workspace.key(found)
    runs = [(cell, workspace.state.last_run(key, cell.key)) for cell in journal.cells if cell.is_code]
    return {
        "journal": _shown(found, workspace.root),
        "title": journal.title,
        "step": current.id or current.title if current else None,
        "steps": [
            {"id": s.id, "title": s.title, "state": s.meta.get("state", "todo")} for s in journal.steps
        ],
        "runs": [
            {"cell": cell.id, "name": cell.name, "kind": cell.kind, "exit": run.exit, "ms": run.ms}
            for cell, run in runs
            if run
        ],
    }


def _engine() -> dict[str, Any]:
    from engine import settings
    from engine.errors import SteerwayError
    from engine.models import provision
    from engine.runtime.probe import probe

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
    }


def _shown(path: Path, root: Path) -> str:
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)


MARKS = {"todo": "·", "doing": "▸", "done": "✓", "dropped": "✗"}


def _show(report: dict[str, Any]) -> None:
    click.echo(f"workspace  {report['workspace']}")
    click.echo(f"journal    {report['journal'] or 'none: create one with `steerway new NAME`'}")
    for number, step in enumerate(report["steps"], 1):
        current = "  <- current" if report["step"] in (step["id"], step["title"]) else ""
        click.echo(f"           {MARKS.get(step['state'], '?')} {number} {step['title']}{current}")
    for run in report["runs"]:
        outcome = "ok" if run["exit"] == 0 else f"exit {run['exit']}"
        click.echo(f"last run   {run['name'] or run['cell'] or run['kind']}: {outcome}, {run['ms']} ms")
    engine = report["engine"]
    click.echo(f"model      {engine['model']}{': ' + engine['problem'] if engine['problem'] else ''}")
    features = ", ".join(engine["features"]) or "none (stock library)"
    click.echo(f"llama.cpp  {engine['llama_cpp'] or 'missing'}, patched features: {features}")
