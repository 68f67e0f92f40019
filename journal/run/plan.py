"""Which cells a run is about, in which order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from journal.document import Cell, Journal
from journal.errors import CellNotRunnable, CellUnknown
from journal.run.digest import needed
from journal.run.result import Result
from journal.run.runner import Runner, label


def choose(
    journal: Journal,
    runner: Runner,
    *,
    cells: Sequence[str] = (),
    step: str | None = None,
    start: str | None = None,
) -> tuple[Cell, ...]:
    """The cells to run: the named ones and what they need, a step's, those from one on, or all.

    Raises CellUnknown, StepUnknown, and CellNotRunnable when one of them cannot run on this machine.
    """
    if cells:
        return _named(journal, runner, cells)
    pool = journal.cells_of(journal.step(step)) if step is not None else journal.cells
    if start is not None:
        first = _place(journal, start)
        pool = tuple(cell for cell in pool if cell.index >= first)
    return tuple(cell for cell in pool if runner.runs_in(cell))


def _named(journal: Journal, runner: Runner, names: Sequence[str]) -> tuple[Cell, ...]:
    chosen: dict[str, Cell] = {}
    for name in names:
        cell = journal.cell(name)
        for one in (*needed(journal, cell), cell):
            if not runner.runs_in(one):
                raise CellNotRunnable(
                    f"cell {label(one)} is {one.kind}: it is not run", hint="choose a code cell", subject=one
                )
            chosen[one.key] = one
    return tuple(chosen.values())


def _place(journal: Journal, start: str) -> int:
    """The index of a cell, or of a step's first cell."""
    try:
        return journal.cell(start).index
    except CellUnknown:
        return journal.step(start).index


def run_cells(
    runner: Runner,
    journal: Journal,
    cells: Sequence[Cell],
    *,
    timeout: float | None = None,
    params: Mapping[str, str] | None = None,
    keep_going: bool = False,
) -> Iterator[Result]:
    """Run the cells in order, each result as it is there; ends at the first that fails unless `keep_going`.

    An interrupt ends it in any case. `timeout` (seconds) is each cell's own.
    """
    runner.prepare(cells)
    for cell in cells:
        result = runner.run_cell(cell, timeout=timeout, params=params, journal=journal)
        yield result
        if result.interrupted or not (result.ok or keep_going):
            return
