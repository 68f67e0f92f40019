"""`steerway context`: what a suggestion would read at a step, and what was wrong with reading it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.errors import EngineError, ModelError, UsageError
from journal.commands.common import (
    Opened,
    engine_option,
    find_workspace,
    journal_option,
    json_option,
    print_json,
    say_wait,
    step_option,
    try_journal,
)

if TYPE_CHECKING:
    from engine.documents import Document
    from engine.open import Where
    from engine.settings import Settings
    from journal.context import Entry, Snapshot
    from journal.counting import Counted


@click.command()
@journal_option
@step_option
@click.option(
    "--model",
    metavar="NAME|PATH",
    help="Count with this model: of the catalogue, a GGUF file, `fake` or `remote:URL`.",
)
@click.option("--diff", "with_diff", is_flag=True, help="Show what changed in references that drifted.")
@engine_option
@json_option
def context(
    journal: Path | None,
    step: str | None,
    model: str | None,
    with_diff: bool,
    where: Where | None,
    as_json: bool,
) -> None:
    """Show what a suggestion would read at a step: documents, tokens, drift.

    The most relevant document comes last, nearest the cursor. What could not be read goes to stderr, and
    with --json to "problems" as well. Nothing is run, imported or fetched.

    \b
      steerway context
      steerway context --step 2 --json
      steerway context --diff
    """
    from journal.context import snapshot

    opened = _open(journal)
    try:
        chosen = opened.step(step)
        taken = snapshot(opened.journal, path=opened.path, workspace=opened.workspace, step=chosen)
        counted = _count(taken.documents, model, where)
        problems = _problems(opened, taken, counted)
    finally:
        opened.workspace.close()
    if as_json:
        print_json(as_dict(taken, counted, problems, with_diff=with_diff))
        return
    for problem in problems:
        click.echo(f"steerway: {problem}", err=True)
    _show(taken, counted, opened, with_diff=with_diff)


def as_dict(
    taken: Snapshot, counted: Counted, problems: tuple[str, ...], *, with_diff: bool = False
) -> dict[str, Any]:
    """The documented JSON of a context (docs/context.md)."""
    step = taken.step
    return {
        "step": (step.id or step.key) if step is not None else None,
        "step_title": step.title if step is not None else None,
        "step_state": step.meta.get("state", "todo") if step is not None else None,
        "budget_tokens": counted.budget_tokens,
        "used_tokens": sum(counted.tokens),
        "model": counted.model,
        "estimated": counted.estimated,
        "digest": taken.digest,
        "documents": [
            _document(entry, *numbers, with_diff=with_diff)
            for entry, *numbers in zip(taken.entries, counted.tokens, counted.cut_tokens, strict=True)
        ],
        "problems": list(problems),
    }


def _document(entry: Entry, tokens: int, cut_tokens: int, *, with_diff: bool) -> dict[str, Any]:
    document = entry.document
    shown = {
        "name": document.name,
        "kind": document.kind,
        "tokens": tokens,
        "cut_tokens": cut_tokens,
        "origin": document.origin,
        "version": document.version,
        "language": document.language,
        "drift": entry.drift or None,
        "cell": entry.cell or None,
    }
    return {**shown, "diff": entry.diff} if with_diff else shown


def _open(journal: Path | None) -> Opened:
    opened = try_journal(journal)
    if opened is None:
        workspace = find_workspace(None)
        place = "no journal in" if workspace.in_repository else "no git repository and no journal at"
        workspace.close()
        raise UsageError(
            f"{place} {workspace.root}", hint="create one with `steerway new NAME`, or pass --journal FILE"
        )
    return opened


def _count(documents: tuple[Document, ...], model: str | None, where: Where | None) -> Counted:
    """Tokens by the model's own tokenizer, or an estimate where the default model is not to be had."""
    from engine.settings import load
    from journal.counting import estimated

    settings = load()
    try:
        return _by_engine(documents, model, where, settings)
    except (ModelError, EngineError) as error:
        if model is not None:
            raise
        return estimated(documents, settings, error)


def _by_engine(
    documents: tuple[Document, ...], model: str | None, where: Where | None, settings: Settings
) -> Counted:
    from engine.open import open_shared
    from journal.counting import counted, counting_request

    engine = open_shared(model, settings=settings, where=where, name="context", on_wait=say_wait)
    try:
        return counted(engine.plan(counting_request(documents, settings)), engine.info.model, settings)
    finally:
        engine.close()


def _problems(opened: Opened, taken: Snapshot, counted: Counted) -> tuple[str, ...]:
    written = (f"line {problem.line}: {problem.message}" for problem in opened.journal.problems)
    return tuple(dict.fromkeys((*written, *taken.problems, *([counted.problem] if counted.problem else ()))))


def _show(taken: Snapshot, counted: Counted, opened: Opened, *, with_diff: bool) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from journal.references import printable

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=max(console.width, 140))
    step = taken.step
    where = (
        f"{escape(printable(step.title))} ({step.meta.get('state', 'todo')})"
        if step is not None
        else "no step"
    )
    console.print(f"[bold]{where}[/bold]  {escape(opened.workspace.key(opened.path))}")
    if not taken.entries:
        console.print("nothing to read at this step yet: add a ticket, doc or source cell, or a note")
        return
    table = Table(box=None, header_style="dim", pad_edge=False)
    for heading in ("document", "kind", "tokens", "from", "state"):
        table.add_column(heading, justify="right" if heading == "tokens" else "left", overflow="fold")
    for entry, tokens, cut in zip(taken.entries, counted.tokens, counted.cut_tokens, strict=True):
        document = entry.document
        shown = f"{tokens}" + (f" (cut by {cut})" if cut else "")
        style = "yellow" if entry.drift in {"drifted", "missing"} else ""
        row = (document.name, document.kind, shown, document.origin, str(entry.drift))
        table.add_row(*map(escape, row), style=style)
    console.print(table)
    about = "about " if counted.estimated else ""
    total = f"{about}{sum(counted.tokens)} of {counted.budget_tokens} tokens ({escape(counted.model)})"
    console.print(total, style="dim")
    for entry in taken.entries if with_diff else ():
        if entry.diff:
            console.print(f"\n{escape(printable(entry.diff, lines=True))}", end="", soft_wrap=True)
