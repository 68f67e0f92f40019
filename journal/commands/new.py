"""`steerway new`: a journal to start from."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from journal.commands.common import json_option, print_json

if TYPE_CHECKING:
    from journal.document import Journal

SUFFIX = ".journal.md"

_NOTE = """What goes wrong, how to see it, and what should happen instead.

Gather what matters for this step below: `ticket`, `doc` and `source` cells point at it, code cells run."""


@click.command()
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option("--title", default="", help="The journal's title; without it, made from the file's name.")
@json_option
def new(file: Path | None, title: str, as_json: bool) -> None:
    """Create a journal with a first step.

    FILE is its name, with or without `.journal.md`; without FILE, the name is made from the title. An
    existing file is never overwritten.
    """
    from journal import files

    path = _path(file, title)
    journal, step = _skeleton(title or _title(path))
    files.save(path, journal, None)
    if as_json:
        print_json({"path": str(path), "title": journal.title, "step": step})
        return
    click.echo(str(path))
    typed = shlex.quote(str(path))
    click.echo(f"Next: `steerway {typed}` opens it, `steerway shell {typed}` is its prompt.", err=True)


def _path(file: Path | None, title: str) -> Path:
    if file is None:
        file = Path("-".join(re.findall(r"\w+", title.lower()))[:60] or "notes")
    elif file.is_dir():
        file = file / "notes"
    return file if file.name.endswith(".md") else file.with_name(file.name + SUFFIX)


def _title(path: Path) -> str:
    words = path.name.removesuffix(".md").removesuffix(".journal").replace("-", " ").replace("_", " ").split()
    return " ".join(words).capitalize() or "Notes"


def _skeleton(title: str) -> tuple[Journal, str]:
    """A journal whose first step a person only has to fill in, and the step's id."""
    from journal.document import Journal

    title = " ".join(title.split()) or "Notes"
    journal, step = Journal.new(title).insert(None, "step", title="Reproduce it", meta={"state": "doing"})
    journal, note = journal.insert(step, "note", text=_NOTE)
    journal, _ = journal.insert(note, "sh", text="echo ready", meta={"name": "first"})
    return journal, step.id
