"""What `steerway run` does: ask, run, report, and leave no process behind."""

from __future__ import annotations

import contextlib
import re
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click

from engine.errors import UsageError
from journal.document import Cell, Journal
from journal.run.pin import pin
from journal.run.plan import choose, run_cells
from journal.run.report import reporter
from journal.run.result import Result
from journal.run.runner import Runner, label
from journal.run.trust import Danger, Trust

if TYPE_CHECKING:
    from journal.workspace import Workspace

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class Options:
    """What was asked for on the command line."""

    cells: tuple[str, ...] = ()
    step: str | None = None
    start: str | None = None
    params: tuple[str, ...] = ()
    timeout: float | None = None
    trust: bool = False
    keep_going: bool = False
    pins: tuple[str, ...] = ()
    as_json: bool = False


def run_journal(path: Path, journal: Journal, workspace: Workspace, options: Options) -> int:
    """Run the chosen cells; the exit code of the first that went wrong, 130 or 143 when a signal ended it."""
    params = parse_params(options.params)
    pinned = {journal.cell(name).key: journal.cell(name) for name in options.pins}
    size = shutil.get_terminal_size((100, 24))
    report = reporter(as_json=options.as_json, journal=journal)
    for problem in journal.problems:  # a cell that cannot be read is one that does not run
        report.say(f"line {problem.line}: {problem.message}")
    with Runner(path, workspace, on_event=report.event, size=(size.lines, size.columns)) as runner:
        cells = choose(journal, runner, cells=options.cells, step=options.step, start=options.start)
        for cell in pinned.values():
            _check_pinned(cell, cells)
        ask = _ask(path, cells) if _can_ask() else None
        Trust().require(journal, path, agreed=options.trust, ask=ask, cells=cells)
        results: list[Result] = []
        with _stopping(runner) as stopped:
            for result in run_cells(
                runner, journal, cells, timeout=options.timeout, params=params, keep_going=options.keep_going
            ):
                results.append(result)
                report.result(result)
                if result.cell in pinned:
                    report.say(f"pinned {pin(path, pinned[result.cell], result)}")
                if stopped:
                    break
        report.summary(results, len(cells))
    return 128 + stopped[0] if stopped else _exit_code(results)


def _exit_code(results: list[Result]) -> int:
    return next((result.exit_code for result in results if result.exit_code), 0)


def parse_params(params: tuple[str, ...]) -> dict[str, str]:
    """`NAME=VALUE` pairs. Raises UsageError."""
    pairs = {}
    for param in params:
        name, equals, value = param.partition("=")
        if not equals or not _NAME.fullmatch(name):
            raise UsageError(f"--param {param}: not NAME=VALUE", hint="NAME is letters, digits and _")
        pairs[name] = value
    return pairs


def _check_pinned(cell: Cell, cells: tuple[Cell, ...]) -> None:
    if cell.key not in {one.key for one in cells}:
        raise UsageError(f"--pin {label(cell)}: this run does not run that cell")
    if not cell.id:
        raise UsageError(f"--pin {label(cell)}: the cell has no id to file its output under")


def _can_ask() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def _ask(path: Path, cells: tuple[Cell, ...]) -> Callable[[tuple[Danger, ...]], bool]:
    def question(dangers: tuple[Danger, ...]) -> bool:
        click.echo(f"{path.name} was not written here. It would run {len(cells)} cells.", err=True)
        for danger in dangers:
            place = f"  ! {label(danger.cell)}: {danger.line[:80]}"
            click.echo(f"{place}  ({danger.why})", err=True)
        return click.confirm("Run it?", default=False, err=True)

    return question


@contextlib.contextmanager
def _stopping(runner: Runner) -> Iterator[list[int]]:
    """SIGINT, SIGTERM and SIGHUP interrupt the running cell; which one came is in the list."""
    came: list[int] = []

    def handler(number: int, frame: FrameType | None) -> None:
        came.append(number)
        runner.interrupt()

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield came
    finally:
        for number, action in before.items():
            signal.signal(number, action)
