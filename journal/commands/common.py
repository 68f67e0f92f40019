"""What several commands share: finding the journal and its step, and printing."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.errors import UsageError

if TYPE_CHECKING:
    from journal.document import Cell, Journal
    from journal.files import Stamp
    from journal.workspace import Workspace

journal_option = click.option(
    "--journal",
    "journal",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The journal to use; without it, the workspace's active one.",
)
step_option = click.option(
    "--step",
    "step",
    metavar="ID",
    help="The step to use (id, number or title); without it, the current one.",
)
engine_option = click.option(
    "--engine",
    "where",
    type=click.Choice(["shared", "inline"]),
    help="Run the model in the process all front ends share, or in this one; without it, as settings say.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")


@dataclass(frozen=True)
class Opened:
    """A journal as a command finds it: where, its parsed text, and the stamp a save must match."""

    workspace: Workspace
    path: Path
    journal: Journal
    stamp: Stamp

    def step(self, reference: str | None) -> Cell | None:
        """The step called `reference`, or the current one."""
        if reference is not None:
            return self.journal.step(reference)
        return self.workspace.current_step(self.path, self.journal)


def find_workspace(path: Path | None, start: Path | None = None) -> Workspace:
    """The workspace of a journal, of a file, or of the current folder."""
    from journal.workspace import Workspace

    return Workspace.find((path.absolute().parent if path else None) or start or Path.cwd())


def open_journal(path: Path | None, *, start: Path | None = None) -> Opened:
    """Open the journal at `path`, or the active one of the workspace around `start`.

    Raises UsageError when there is none, JournalUnreadable when it cannot be read.
    """
    opened = try_journal(path, start=start)
    if opened is None:
        root = find_workspace(None, start).root
        raise UsageError(
            f"no journal in {root}", hint="create one with `steerway new NAME`, or pass --journal FILE"
        )
    return opened


def try_journal(path: Path | None, *, start: Path | None = None) -> Opened | None:
    """Like `open_journal`, but None where the workspace has no journal."""
    from journal import files

    workspace = find_workspace(path, start)
    found = path or workspace.active_journal()
    if found is None:
        return None
    journal, stamp = files.read(found)
    return Opened(workspace, found, journal, stamp)


def say_wait(message: str) -> None:
    """A line for whoever watches; programs are not told."""
    if sys.stderr.isatty():
        click.echo(f"steerway: {message}", err=True)


def print_json(value: Any) -> None:
    """One JSON value on stdout, for programs."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
    sys.stdout.flush()
