"""What a cell looks like depends on this and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from journal.document import Cell, Problem, Sides
from journal.session.execution import CellRun
from journal.session.output import Lines
from journal.session.standing import Standing

if TYPE_CHECKING:
    from journal.references import Resolved
    from journal.resolvers.places import Places


@dataclass(frozen=True)
class View:
    """A cell and what is known about it.

    `title` is the journal's (for the front matter), `sides` a conflict's. `run` is the cell's run of this
    session, `standing` the last recorded one and `past` what that printed; `resolved` is where a reference
    leads to, `tokens` what it costs and `places` where its symbol is used; `edit_rows` is how many rows its
    editor takes (0: it is not being edited); `seconds` how long it has been running.
    """

    cell: Cell
    title: str = ""
    sides: Sides | None = None
    run: CellRun | None = None
    run_state: str = ""
    run_version: int = 0
    standing: Standing | None = None
    past: Lines | None = None
    resolved: Resolved | None = None
    tokens: str = ""
    places: Places | None = None
    problems: tuple[Problem, ...] = ()
    current: bool = False
    unfolded: bool = False
    edit_rows: int = 0
    seconds: int = 0
