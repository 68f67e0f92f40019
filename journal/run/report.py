"""What a headless run prints: JSON lines for programs, or rules, live output and a table for people."""

from __future__ import annotations

import json
import sys
from typing import TextIO

from journal.document import Cell, Journal
from journal.run.live import Live
from journal.run.result import Event, Notice, Output, Result, Started
from journal.run.runner import label


def reporter(*, as_json: bool, journal: Journal) -> Reporter:
    """The reporter for stdout and stderr."""
    return JsonReporter(journal) if as_json else HumanReporter(journal)


class Reporter:
    """Notices on stderr, nothing else."""

    def __init__(self, journal: Journal, out: TextIO | None = None, err: TextIO | None = None) -> None:
        self._cells = {cell.key: cell for cell in journal.cells}
        self._out = out or sys.stdout
        self._err = err or sys.stderr

    def event(self, event: Event) -> None:
        """Something happened while a cell ran."""
        if isinstance(event, Notice):
            self.say(event.text)

    def say(self, text: str) -> None:
        """One line of narration."""
        print(f"steerway: {text}", file=self._err, flush=True)

    def result(self, result: Result) -> None:
        """A cell ended."""

    def summary(self, results: list[Result], wanted: int) -> None:
        """The run ended."""


class JsonReporter(Reporter):
    """One JSON object a line, as each cell ends."""

    def result(self, result: Result) -> None:
        row: dict[str, object] = {
            "cell": result.cell,
            "name": result.name,
            "kind": result.kind,
            "exit": result.exit,
            "ms": result.ms,
            "output": result.output,
        }
        for flag in ("timed_out", "interrupted", "truncated"):
            if getattr(result, flag):
                row[flag] = True
        print(json.dumps(row, ensure_ascii=False), file=self._out, flush=True)


class HumanReporter(Reporter):
    """Output as it comes on stdout, a rule a cell and a table on stderr."""

    def __init__(self, journal: Journal, out: TextIO | None = None, err: TextIO | None = None) -> None:
        super().__init__(journal, out, err)
        self._live = Live(self._out)

    def event(self, event: Event) -> None:
        super().event(event)
        if isinstance(event, Started):
            self._live.start()
            self._rule(event.cell)
        elif isinstance(event, Output):
            self._live.show(event)

    def say(self, text: str) -> None:
        self._live.end()
        super().say(text)

    def _rule(self, cell: Cell) -> None:
        name = f"── {label(cell)} ({cell.kind}) "
        print(name + "─" * max(0, 60 - len(name)), file=self._err, flush=True)

    def summary(self, results: list[Result], wanted: int) -> None:
        self._live.end()
        if not results:
            self.say("there is nothing to run")
            return
        width = max(len(self._name(result)) for result in results)
        print("─" * 60, file=self._err)
        for result in results:
            seconds = f"{result.ms / 1000:8.2f} s"
            print(f"{self._name(result):<{width}}  {_verdict(result):<12}{seconds}", file=self._err)
        if len(results) < wanted:
            print(f"{wanted - len(results)} more not run", file=self._err)
        self._err.flush()

    def _name(self, result: Result) -> str:
        cell = self._cells.get(result.cell)
        return label(cell) if cell else result.cell


def _verdict(result: Result) -> str:
    if result.timed_out:
        return "timed out"
    if result.interrupted:
        return "interrupted"
    if result.kernel_died:
        return "kernel died"
    return "ok" if result.exit == 0 else f"exit {result.exit}"
