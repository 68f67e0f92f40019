"""What the screen knows about cells beyond the document: runs, standings, references, tokens."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from journal.document import Cell, Journal, Problem
from journal.session.execution import CellRun
from journal.session.meter import Reading
from journal.session.output import Lines
from journal.session.standing import Standing
from journal.tui.blocks.view import View

if TYPE_CHECKING:
    from journal.references import Resolved
    from journal.resolvers.places import Places


@dataclass
class Facts:
    """Filled by workers, read when cells are drawn. Everything is by cell key."""

    standing: Mapping[str, Standing] = field(default_factory=dict)
    past: dict[str, Lines] = field(default_factory=dict)
    resolved: Mapping[str, Resolved] = field(default_factory=dict)
    tokens: Mapping[str, str] = field(default_factory=dict)
    places: Mapping[str, Places] = field(default_factory=dict)
    reading: Reading | None = None
    unfolded: set[str] = field(default_factory=set)
    editing: tuple[str, int] | None = None
    _problems: tuple[int, dict[int, tuple[Problem, ...]]] = (0, {})

    def view(self, cell: Cell, journal: Journal, run: CellRun | None, *, current: bool) -> View:
        """All that a cell's look depends on. Quick: it is asked for every line that is drawn."""
        key, kind = cell.key, cell.kind
        running = run is not None and run.state == "running"
        return View(
            cell,
            title=journal.title if kind == "front" else "",
            sides=journal.sides(cell) if kind == "conflict" else None,
            run=run,
            run_state=run.state if run is not None else "",
            run_version=run.lines.version if run is not None else 0,
            standing=self.standing.get(key),
            past=self.past.get(key),
            resolved=self.resolved.get(key),
            tokens=self.tokens.get(key, ""),
            places=self.places.get(key),
            problems=self.problems(cell, journal),
            current=current,
            unfolded=key in self.unfolded,
            edit_rows=self.editing[1] if self.editing is not None and self.editing[0] == key else 0,
            seconds=int(time.monotonic() - run.started) if run is not None and running else 0,
        )

    def problems(self, cell: Cell, journal: Journal) -> tuple[Problem, ...]:
        """What is wrong with the cell; a conflict says so itself."""
        if not journal.problems or cell.kind == "conflict":
            return ()
        if self._problems[0] != id(journal):
            self._problems = (id(journal), _by_cell(journal))
        return self._problems[1].get(cell.index, ())


def _by_cell(journal: Journal) -> dict[int, tuple[Problem, ...]]:
    lines = [cell.line for cell in journal.cells]
    found: dict[int, tuple[Problem, ...]] = {}
    for problem in journal.problems:
        index = max(0, bisect_right(lines, problem.line) - 1)
        found[index] = (*found.get(index, ()), problem)
    return found
