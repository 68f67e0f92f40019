"""`steerway edges`: which definition each name of a file has."""

from __future__ import annotations

import json
import sys
from bisect import bisect_right
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.errors import UsageError

if TYPE_CHECKING:
    from engine.usedef.names import Edge

_STANDARD_INPUT = "-"


@click.command()
@click.argument("file", metavar="FILE")
@click.option(
    "--language",
    metavar="LANGUAGE",
    help="c, go, java, javascript, python, rust, tsx or typescript, instead of what the name says.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")
def edges(file: str, language: str | None, as_json: bool) -> None:
    """Show which definitions each name of FILE has; `-` reads standard input.

    The file is parsed, damaged or not; nothing is run, imported or fetched. Lines and columns count from 1,
    columns in characters. Names that are defined elsewhere are left out.

    The JSON is one list, by place: [{"name", "use": {"line", "column"}, "defs": [{"line", "column"}]}], the
    latest definition last.

    \b
    Examples:
      steerway edges journal/document.py
      steerway edges journal/document.py --json
      git show HEAD:main.go | steerway edges - --language go
    """
    from engine.grammars import language_of
    from engine.usedef.analysis import analyse

    text = _read(file)
    found = analyse(text, language or language_of(file, text))
    if not found.parsed:
        raise UsageError(f"{_shown(file)} takes too long to parse", hint="give a part of it")
    places = _Places(text)
    if as_json:
        click.echo(json.dumps([_facts(edge, places) for edge in found.edges], ensure_ascii=False))
    else:
        _print(found.edges, places, damaged=found.damaged)


def _read(file: str) -> str:
    """The text of `file`. Raises UsageError for what is no text."""
    shown = _shown(file)
    if file == _STANDARD_INPUT:
        data = sys.stdin.buffer.read()
    else:
        path = Path(file)
        if not path.exists():
            raise UsageError(
                f"no file {shown}", hint="give the path of a source file, or - for standard input"
            )
        if not path.is_file():
            raise UsageError(f"{shown} is no file", hint="give the path of a source file")
        try:
            data = path.read_bytes()
        except OSError as error:
            raise UsageError(
                f"{shown} cannot be read ({error.strerror})", hint="check its permissions"
            ) from None
    if not data:
        raise UsageError(f"{shown} is empty", hint="give a file with source code in it")
    if b"\0" in data:
        raise UsageError(f"{shown} is a binary file", hint="give a file with source code in it")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{shown} is not UTF-8 (byte {error.start})", hint="convert it first, as with iconv -t UTF-8"
        ) from None


def _shown(file: str) -> str:
    return "standard input" if file == _STANDARD_INPUT else file


class _Places:
    """Lines and columns, from 1, of character offsets."""

    def __init__(self, text: str) -> None:
        self._starts = [0, *(index + 1 for index, character in enumerate(text) if character == "\n")]

    def of(self, offset: int) -> dict[str, int]:
        line = bisect_right(self._starts, offset)
        return {"line": line, "column": offset - self._starts[line - 1] + 1}

    def short(self, offset: int) -> str:
        return "{line}:{column}".format(**self.of(offset))


def _facts(edge: Edge, places: _Places) -> dict[str, Any]:
    defs = [places.of(name.start) for name in edge.definitions]
    return {"name": edge.use.text, "use": places.of(edge.use.start), "defs": defs}


def _print(found: tuple[Edge, ...], places: _Places, *, damaged: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("use", justify="right")
    table.add_column("name", overflow="fold")
    table.add_column("defined at", overflow="fold")
    for use, definitions in found:
        listed = "  ".join(places.short(name.start) for name in definitions)
        table.add_row(places.short(use.start), use.text, listed)
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console = Console(highlight=False, markup=False, width=200)
    if found:
        console.print(table)
    note = ", where the text does not parse by guesses" if damaged else ""
    console.print(f"{len(found):,} names with a definition in this file{note}")
