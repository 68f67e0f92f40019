"""`steerway complete FILE:LINE:COL`: what an editor would be offered there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.errors import UsageError
from journal.commands.common import journal_option, json_option, print_json, step_option, try_journal

if TYPE_CHECKING:
    from engine.request import Request, Suggestion


@click.command()
@click.argument("place", metavar="FILE:LINE:COL")
@journal_option
@step_option
@click.option("--model", metavar="NAME|PATH", help="A model of the catalogue, a GGUF file, `fake` or `remote:URL`.")
@click.option("--max-tokens", type=click.IntRange(1, 4096), help="The longest suggestion, in tokens.")
@click.option("--layout", help="How documents are laid out in the prompt; without it, the model's measured best.")
@click.option("--no-journal", is_flag=True, help="Suggest from the file alone.")
@json_option
def complete(
    place: str,
    journal: Path | None,
    step: str | None,
    model: str | None,
    max_tokens: int | None,
    layout: str | None,
    no_journal: bool,
    as_json: bool,
) -> None:
    """Suggest what goes in at FILE:LINE:COL, conditioned on the journal's current step.

    Line and column count from 1, the column in characters. The text goes to stdout, the account of what was
    read to stderr.

    \b
      steerway complete src/up.py:42:9
      steerway complete src/up.py:42:9 --step 2 --json
    """
    path, line, column = _parse_place(place)
    request = _request(path, line, column, journal=journal, step=step, no_journal=no_journal)
    suggestion = _suggest(request, model=model, max_tokens=max_tokens, layout=layout)
    if as_json:
        print_json(as_dict(suggestion))
    else:
        _show(suggestion, request)


def _parse_place(place: str) -> tuple[Path, int, int]:
    name, _, rest = place.rpartition(":")
    name, _, line = name.rpartition(":")
    if not (name and line.isdigit() and rest.isdigit() and int(line) and int(rest)):
        raise UsageError(f"`{place}` is not FILE:LINE:COL", hint="line and column count from 1, as in src/up.py:42:9")
    return Path(name), int(line), int(rest)


def _request(
    path: Path, line: int, column: int, *, journal: Path | None, step: str | None, no_journal: bool
) -> Request:
    from engine.grammars import language_of
    from engine.request import Request
    from journal.context import snapshot

    text = _read(path)
    offset = _offset(text, line, column, path)
    opened = None if no_journal else try_journal(journal, start=path.absolute().parent)
    root = opened.workspace.root if opened else path.absolute().parent
    shown = _relative(path, root)
    documents = ()
    if opened:
        taken = snapshot(opened.journal, path=opened.path, workspace=opened.workspace, step=opened.step(step))
        documents = taken.without(shown).documents
        for problem in taken.problems:
            click.echo(f"steerway: {problem}", err=True)
    elif step is not None:
        raise UsageError("--step needs a journal", hint="pass --journal FILE")
    return Request(
        prefix=text[:offset],
        suffix=text[offset:],
        path=shown,
        language=language_of(shown, text),
        repository=root.name,
        documents=documents,
    )


def _suggest(request: Request, *, model: str | None, max_tokens: int | None, layout: str | None) -> Suggestion:
    from dataclasses import replace

    from engine.open import open_engine
    from engine.settings import load

    settings = load()
    request = replace(
        request,
        max_tokens=max_tokens or settings.max_tokens,
        context_tokens=settings.document_tokens or None,
        layout=layout or settings.layout or None,
    )
    engine = open_engine(model, settings=settings)
    try:
        return engine.suggest(request)
    finally:
        engine.close()


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode()
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not UTF-8 text", hint="save it as UTF-8 first") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read", hint=(error.strerror or str(error)).lower()) from None


def _offset(text: str, line: int, column: int, path: Path) -> int:
    lines = text.splitlines(keepends=True) or [""]
    if text.endswith(("\n", "\r")):
        lines.append("")
    if line > len(lines):
        raise UsageError(f"{path} has {len(lines)} lines, not {line}")
    width = len(lines[line - 1].rstrip("\r\n"))
    if column > width + 1:
        raise UsageError(f"line {line} of {path} ends at column {width + 1}, before {column}")
    return sum(map(len, lines[: line - 1])) + column - 1


def _relative(path: Path, root: Path) -> str:
    try:
        return path.absolute().relative_to(root).as_posix()
    except ValueError:
        return path.name


def as_dict(suggestion: Suggestion) -> dict[str, Any]:
    """The documented JSON of a suggestion (docs/commands.md)."""
    return {
        "text": suggestion.text,
        "stop": suggestion.stop,
        "documents": [
            {"name": d.name, "kind": d.kind, "tokens": d.tokens, "from": d.origin, "cut_tokens": d.cut_tokens}
            for d in suggestion.documents
        ],
        "tokens_computed": suggestion.tokens_computed,
        "tokens_reused": suggestion.tokens_reused,
        "tokens_generated": suggestion.tokens_generated,
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
            table.add_row(use.name, use.kind, f"{use.tokens}{cut}", use.origin)
        narrator.print(table)
    narrator.print(
        f"{request.path}: stopped at {suggestion.stop}; {suggestion.tokens_computed} tokens computed, first token "
        f"after {suggestion.first_token_ms:.0f} ms, {suggestion.tokens_generated} generated in "
        f"{suggestion.total_ms:.0f} ms ({suggestion.model}, layout {suggestion.layout or 'plain'})",
        style="dim",
        highlight=False,
    )
