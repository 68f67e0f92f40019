"""`steerway open FILE`, or just `steerway FILE`: the journal in the terminal."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from engine.errors import UsageError
from journal.commands.common import engine_option

if TYPE_CHECKING:
    from engine.open import Where


@click.command("open")
@click.argument("file", required=False, type=click.Path(path_type=Path))
@engine_option
def open_(file: Path | None = None, where: Where | None = None) -> int:
    """Open a journal in the terminal: its steps, its cells, what a model would read.

    FILE: the workspace's active journal if left out. Opening a journal runs nothing.

    \b
      steerway
      steerway notes.journal.md
    """
    from journal.commands.common import find_workspace

    workspace = find_workspace(file)
    path = file or workspace.active_journal()
    if path is None:
        raise UsageError(f"no journal in {workspace.root}", hint="create one with `steerway new NAME`")
    from journal.session import Session

    session = Session(path, workspace)
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("the journal opens in a terminal", hint=f"run its cells with `steerway run {path}`")
    from journal.tui.app import run

    return run(session, where=where)
