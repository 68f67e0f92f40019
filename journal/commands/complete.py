"""`steerway complete FILE:LINE:COL`: what an editor would be offered there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.errors import UsageError
from journal.commands.common import (
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
    from engine.open import Where
    from engine.request import Request, Suggestion
    from engine.settings import Settings
    from journal.holes import Hole


@click.command()
@click.argument("place", metavar="FILE:LINE:COL")
@journal_option
@step_option
@click.option(
    "--model", metavar="NAME|PATH", help="A model of the catalogue, a GGUF file, `fake` or `remote:URL`."
)
@click.option("--max-tokens", type=click.IntRange(1, 4096), help="The longest suggestion, in tokens.")
@click.option(
    "--layout", help="How documents are laid out in the prompt; without it, the model's measured best."
)
@click.option("--no-journal", is_flag=True, help="Suggest from the file alone.")
@engine_option
@json_option
def complete(
    place: str,
    journal: Path | None,
    step: str | None,
    model: str | None,
    max_tokens: int | None,
    layout: str | None,
    no_journal: bool,
    where: Where | None,
    as_json: bool,
) -> None:
    """Suggest what goes in at FILE:LINE:COL, conditioned on the journal's current step.

    Line and column count from 1, the column in characters. The text goes to stdout, the account of what was
    read to stderr.

    With --json, one object on stdout: `text` (what goes in at the cursor, with the file's line ends), `stop`
    (why it ended: statement, line, suffix, length, time, eos, cancelled, or empty when there is nothing to
    say), `documents` (each with `name`, `kind`, `tokens`, `from`: computed, loaded, reused or skipped,
    `cut_tokens`, and, when it was cut, `cut_line` or `reason`), `tokens_computed`, `tokens_reused`,
    `tokens_loaded` (from memory or disk), `tokens_moved` (of both, those encoded behind other text),
    `tokens_generated`, `tokens_drafted`, `tokens_accepted`, `load_ms`, `predicted_ms` (of the first token),
    `first_token_ms`, `total_ms`, `model`, `layout`.

    \b
      steerway complete src/up.py:42:9
      steerway complete src/up.py:42:9 --step 2 --json
    """
    from dataclasses import replace

    from engine.open import open_shared
    from engine.settings import load

    settings = load()
    hole, request = _request(place, settings, journal=journal, step=step, no_journal=no_journal)
    request = replace(request, max_tokens=max_tokens or request.max_tokens, layout=layout or request.layout)
    engine = open_shared(model, settings=settings, where=where, name="complete", on_wait=say_wait)
    try:
        suggestion = engine.suggest(request)
    finally:
        engine.close()
    suggestion = replace(suggestion, text=hole.fitted(suggestion.text))
    if as_json:
        print_json(as_dict(suggestion))
    else:
        _show(suggestion, request)


def _request(
    place: str, settings: Settings, *, journal: Path | None, step: str | None, no_journal: bool
) -> tuple[Hole, Request]:
    from journal.context import snapshot
    from journal.holes import Hole

    hole = Hole.parse(place)
    folder = hole.path.absolute().parent
    opened = None if no_journal else try_journal(journal, start=folder)
    if opened is None:
        if step is not None:
            raise UsageError("--step needs a journal", hint="pass --journal FILE")
        root = find_workspace(None, folder).root
        return hole, hole.request(root=root, documents=(), settings=settings)
    taken = snapshot(opened.journal, path=opened.path, workspace=opened.workspace, step=opened.step(step))
    for problem in taken.problems:
        click.echo(f"steerway: {problem}", err=True)
    root = opened.workspace.root
    return hole, hole.request(root=root, documents=taken.documents, settings=settings)


def as_dict(suggestion: Suggestion) -> dict[str, Any]:
    """The documented JSON of a suggestion (docs/commands.md)."""
    return {
        "text": suggestion.text,
        "stop": suggestion.stop,
        "documents": [
            {"name": d.name, "kind": d.kind, "tokens": d.tokens, "from": d.origin, "cut_tokens": d.cut_tokens}
            | ({"cut_line": d.cut_line} if d.cut_line is not None else {})
            | ({"reason": d.reason} if d.reason else {})
            for d in suggestion.documents
        ],
        "tokens_computed": suggestion.tokens_computed,
        "tokens_reused": suggestion.tokens_reused,
        "tokens_loaded": suggestion.tokens_loaded,
        "tokens_moved": suggestion.tokens_moved,
        "tokens_generated": suggestion.tokens_generated,
        "tokens_drafted": suggestion.tokens_drafted,
        "tokens_accepted": suggestion.tokens_accepted,
        "load_ms": round(suggestion.load_ms, 1),
        "predicted_ms": round(suggestion.predicted_ms, 1),
        "first_token_ms": round(suggestion.first_token_ms, 1),
        "total_ms": round(suggestion.total_ms, 1),
        "model": suggestion.model,
        "layout": suggestion.layout,
    }


def _show(suggestion: Suggestion, request: Request) -> None:
    from rich.console import Console
    from rich.table import Table

    click.echo(suggestion.text)
    narrator = Console(stderr=True)
    if suggestion.documents:
        table = Table("document", "kind", "tokens", "from", box=None, header_style="dim", pad_edge=False)
        for use in suggestion.documents:
            cut = f" (cut by {use.cut_tokens})" if use.cut_tokens else ""
            origin = f"{use.origin}: {use.reason}" if use.reason else use.origin
            table.add_row(use.name, use.kind, f"{use.tokens}{cut}", origin)
        narrator.print(table)
    narrator.print(
        f"{request.path}: stopped at {suggestion.stop}; {suggestion.tokens_computed} tokens computed, "
        f"first token after {suggestion.first_token_ms:.0f} ms, {suggestion.tokens_generated} generated in "
        f"{suggestion.total_ms:.0f} ms ({suggestion.model}, layout {suggestion.layout or 'plain'})",
        style="dim",
        highlight=False,
    )
