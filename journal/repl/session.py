"""What the line-mode front end does with a line: run it, or do what a `:command` says. No terminal here."""

from __future__ import annotations

import dataclasses
import signal
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Literal, TextIO

from engine.errors import SteerwayError
from journal.document import Cell, Journal
from journal.files import read, save_merged
from journal.run.live import Live
from journal.run.result import Event, Notice, Output, Result, Started
from journal.run.runner import Runner
from journal.run.trust import Danger, Trust

if TYPE_CHECKING:
    from journal.workspace import Workspace

Mode = Literal["sh", "python"]
Confirm = Callable[[str], bool]


@dataclasses.dataclass(frozen=True)
class Ran:
    """Something typed here and run."""

    kind: Mode
    text: str
    ok: bool


class Session:
    """A journal, its step, its runner, and what was run since the last save.

    `confirm` puts a yes-or-no question (None: nobody can answer). `on_input` answers `input()`.
    `while_running` surrounds each cell's run.
    """

    def __init__(
        self,
        path: Path,
        workspace: Workspace,
        *,
        out: TextIO,
        confirm: Confirm | None = None,
        interactive: bool = False,
        on_input: Callable[[str, bool], str] | None = None,
        size: tuple[int, int] = (24, 80),
        while_running: Callable[[Runner], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self.path, self.workspace = path, workspace
        self.journal, self.stamp = read(path)
        self.mode: Mode = "sh"
        self.ran: list[Ran] = []
        self.confirm = confirm
        self._while_running = while_running
        self._out = out
        self._live = Live(out)
        self.runner = Runner(
            path,
            workspace,
            on_event=self._on_event,
            stdin="terminal" if interactive else "eof",
            on_input=on_input,
            size=size,
        )
        self.failed = False

    @property
    def step(self) -> Cell | None:
        """The step the user is at."""
        return self.workspace.current_step(self.path, self.journal)

    def refresh(self) -> None:
        """Read the journal again if it changed on disk; one that cannot be read stays as it was."""
        try:
            journal, stamp = read(self.path)
        except SteerwayError:
            return
        if stamp != self.stamp:
            self.journal, self.stamp = journal, stamp

    def say(self, text: str) -> None:
        """Lines for the person."""
        self._live.end()
        self._out.write(text + "\n")
        self._out.flush()

    def handle(self, line: str) -> bool:
        """Do what a line says; False when it says to leave. Errors are said, not raised."""
        from journal.repl.commands import dispatch

        self.refresh()
        try:
            if line.lstrip().startswith(":"):
                return dispatch(self, line.strip())
            if line.strip():
                self.run_text(line)
        except SteerwayError as error:
            self.failed = True
            self.say(f"steerway: {error}")
        return True

    def run_text(self, text: str) -> Result:
        """Run what was typed, in the mode's shell or kernel."""
        result = self._interruptible(_typed(self.mode, text))
        self.ran.append(Ran(self.mode, text, result.ok))
        return result

    def run_cells(self, cells: tuple[Cell, ...]) -> list[Result]:
        """Run cells of the journal to the first that fails; asks first for one that came from elsewhere."""
        Trust().require(self.journal, self.path, ask=self._ask if self.confirm else None, cells=cells)
        self.runner.prepare(cells)
        results = []
        for cell in cells:
            results.append(self._interruptible(cell))
            if not results[-1].ok:
                break
        return results

    def _ask(self, dangers: tuple[Danger, ...]) -> bool:
        for danger in dangers:
            self.say(f"  ! {danger.line[:80]}  ({danger.why})")
        return bool(self.confirm and self.confirm(f"{self.path.name} was not written here. Run its cells?"))

    def _interruptible(self, cell: Cell) -> Result:
        """Run with Ctrl-C going to the cell, not to us."""

        def handler(number: int, frame: FrameType | None) -> None:
            self.runner.interrupt()

        main = threading.current_thread() is threading.main_thread()
        before = signal.signal(signal.SIGINT, handler) if main else None
        journal = self.journal if cell.key != _TYPED_KEY else None
        try:
            with self._while_running(self.runner):
                result = self.runner.run_cell(cell, journal=journal)
        finally:
            self._live.end()
            if main:
                signal.signal(signal.SIGINT, before)
        self.failed = not result.ok
        if not result.ok:
            self.say(f"[{verdict(result)}]")
        return result

    def _on_event(self, event: Event) -> None:
        if isinstance(event, Started):
            self._live.start()
        elif isinstance(event, Output):
            self._live.show(event)
        elif isinstance(event, Notice):
            self.say(f"steerway: {event.text}")

    def save(self, ran: list[Ran], name: str = "") -> list[Cell]:
        """Append what was run to the current step as code cells and write the journal."""
        trusted = Trust().knows(self.journal)
        journal, added = self.journal, []
        after = self._last_of_step()
        for one in ran:
            meta = {"name": name} if name and one is ran[-1] else {}
            journal, after = journal.insert(after, one.kind, text=one.text, meta=meta)
            added.append(after)
        self.journal, self.stamp = save_merged(self.path, journal, self.stamp)
        if trusted:
            Trust().remember(self.journal)
        self.ran.clear()
        return added

    def _last_of_step(self) -> Cell | None:
        step = self.step
        inside = (step, *self.journal.cells_of(step)) if step else self.journal.cells
        return inside[-1] if inside else None

    def close(self) -> None:
        """End what was started."""
        self.runner.close()


_TYPED_KEY = "typed"


def _typed(kind: Mode, text: str) -> Cell:
    """A cell that is in no journal."""
    pattern = Journal.parse(b"```sh {}\ntrue\n```\n").cells[0]
    return dataclasses.replace(pattern, kind=kind, text=text, key=_TYPED_KEY, name="", title="")


def verdict(result: Result) -> str:
    """How a cell ended, in a word or two."""
    if result.interrupted:
        return "interrupted"
    if result.kernel_died:
        return "kernel died"
    return "timed out" if result.timed_out else f"exit {result.exit}"
