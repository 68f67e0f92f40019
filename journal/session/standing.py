"""Which results still stand: every cell's last run here, and whether it was of what stands there now."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import SteerwayError
from journal.document import Cell, Journal
from journal.run.digest import Freshness
from journal.session.output import Lines

if TYPE_CHECKING:
    from journal.run.runner import Runner
    from journal.state import Run

SHOWN_BYTES = 1 << 16
_RUNS = 100_000


@dataclass(frozen=True)
class Standing:
    """A cell's last recorded run. `problem`: why the cell cannot run on this machine, "" when it can."""

    freshness: Freshness = "never"
    exit: int | None = None
    ms: float = 0.0
    output: Path | None = None
    problem: str = ""


def standings(journal: Journal, runner: Runner) -> dict[str, Standing]:
    """Every code cell's standing, by key. Blocks: reads the state, and asks what can run here."""
    last: dict[str, Run] = {}
    for run in runner.workspace.state.runs(runner.name, limit=_RUNS):
        last.setdefault(run.key, run)
    return {cell.key: _standing(cell, journal, runner, last) for cell in journal.cells if cell.is_code}


def _standing(cell: Cell, journal: Journal, runner: Runner, last: dict[str, Run]) -> Standing:
    run = last.get(cell.key)
    try:
        if not runner.runs_in(cell):
            return Standing()
        if run is None:
            return Standing()
        same = run.source_digest == runner.digest(cell, journal)
    except SteerwayError as error:
        return Standing(problem=str(error))
    freshness: Freshness = "stale" if not same else "fresh" if run.exit == 0 else "failed"
    return Standing(freshness, run.exit, run.ms, runner.workspace.state.output(run))


def past_outputs(standing: Iterable[tuple[str, Standing]]) -> dict[str, Lines]:
    """What the last runs printed, head and tail where it is long. Blocks."""
    found = {}
    for key, one in standing:
        text = _read(one.output) if one.output is not None else ""
        if text:
            found[key] = Lines(text)
    return found


def _read(path: Path) -> str:
    coloured = path.with_suffix(".ansi")
    try:
        with (coloured if coloured.is_file() else path).open("rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            if size <= SHOWN_BYTES:
                return file.read().decode("utf-8", "replace")
            head = file.read(SHOWN_BYTES // 4).decode("utf-8", "replace")
            file.seek(size - SHOWN_BYTES // 2)
            tail = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    head, tail = head.rpartition("\n")[0], tail.partition("\n")[2]
    return f"{head}\n[... the whole output is in {path} ...]\n{tail}"
