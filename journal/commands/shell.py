"""`steerway shell`: the line-mode front end."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from journal.commands.common import engine_option

if TYPE_CHECKING:
    from engine.open import Where


@click.command()
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option("--suggest/--no-suggest", default=False, help="Show the model's suggestion while typing.")
@click.option("--model", metavar="NAME|PATH", help="The model that suggests.")
@engine_option
def shell(file: Path | None, suggest: bool, model: str | None, where: Where | None) -> int:
    """Type at a journal: commands run in its shell, `:help` lists what else there is.

    FILE: the workspace's active journal if left out. Commands piped in are read line by line.
    """
    from journal.commands.common import open_journal
    from journal.repl.main import run_shell

    opened = open_journal(file)
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    return run_shell(
        opened.path, opened.workspace, terminal=terminal, suggest=suggest, model=model, where=where
    )
