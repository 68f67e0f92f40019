"""What every topic shares: the session, what blocks on named threads, and showing what is new."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from textual.message import Message
from textual.screen import Screen

from engine.errors import SteerwayError
from journal.document import Cell
from journal.session.execution import Execution
from journal.session.meter import Meter
from journal.session.session import Session
from journal.tui.facts import Facts
from journal.tui.widgets.cells import Cells

T = TypeVar("T")


class Call(Message):
    """Something to do on the program's own thread."""

    def __init__(self, work: Callable[[], None]) -> None:
        super().__init__()
        self.work = work


class Base(Screen[None]):
    """The parts of the screen that topics need of each other."""

    session: Session
    execution: Execution
    meter: Meter
    facts: Facts
    panes_chosen: dict[str, bool]

    def background(self, group: str, work: Callable[[], T], then: Callable[[T], None] | None = None) -> None:
        """Do `work` on a thread of that group, then `then` with its result here; errors are said."""

        def run() -> None:
            try:
                value = work()
            except SteerwayError as error:
                said = error
                self.call(lambda: self.failed(said))
            except (OSError, sqlite3.Error) as error:
                text = str(error)
                self.call(lambda: self.say(text, severe=True))
            else:
                if then is not None:
                    self.call(lambda: then(value))

        self.run_worker(run, thread=True, group=group, name=group, exclusive=False, exit_on_error=True)

    def call(self, work: Callable[[], None]) -> None:
        """Do `work` on the program's own thread, soon. From any thread."""
        self.post_message(Call(work))

    def on_call(self, message: Call) -> None:
        message.stop()
        if self.is_running:
            message.work()

    def failed(self, error: SteerwayError) -> None:
        """An action could not do what was asked."""
        self.say(str(error), severe=True)

    def say(self, text: str, *, severe: bool = False) -> None:
        """One line for the person, for a few seconds."""
        self.notify(
            text, severity="error" if severe else "information", markup=False, timeout=8 if severe else 4
        )

    @property
    def cells(self) -> Cells:
        """The list."""
        return self.query_one(Cells)

    @property
    def cell(self) -> Cell | None:
        """The cell that actions mean."""
        return self.cells.cell

    @property
    def here(self) -> Cell | None:
        """The step of that cell."""
        cell = self.cell
        return self.session.journal.step_of(cell) if cell is not None else None

    def attempt(self, edit: Callable[[], Cell | None]) -> bool:
        """Do an edit and show it, its cell selected; say why where it cannot be done."""
        try:
            cell = edit()
        except SteerwayError as error:
            self.failed(error)
            return False
        self.show_document(cell.key if cell is not None else None)
        for notice in self.session.journal.notices:
            self.say(notice)
        return True

    # What other topics bring.

    def show_document(self, selected: str | None = None) -> None:
        """The document is another: show it."""

    def show_state(self) -> None:
        """Whether all is saved may be another answer."""

    def show_steps(self) -> None:
        """The list of steps may look different."""

    def look_again(self) -> None:
        """What is known about cells may be old: find out anew, soon."""

    def open_editor(self, cell: Cell, *, select: bool = False) -> None:
        """Edit the cell's text where it stands, all of it selected or none."""

    def finish_editing(self) -> bool:
        """Take over what is being typed; False when it cannot stand in its cell."""
        return True

    def action_run_cell(self) -> None:
        """See the topic of running."""

    def action_file_save(self) -> None:
        """See the topic of files."""

    def show_context(self) -> None:
        """What the model would read may be another answer."""

    def watch_files(self) -> None:
        """Watch what the journal is made of now."""

    def look_at_disk(self) -> None:
        """Compare the file with what was read, and take in or ask about what is new."""

    def files_changed(self, paths: frozenset[Path]) -> None:
        """Other programs changed files. From the watcher's thread."""

    def drop_editor(self) -> None:
        """Close the editor; its text is not wanted."""

    def keep_editor_through(self, change: Callable[[], None]) -> None:
        """Do `change` to the document while text is being typed, and lose none of it."""

    @property
    def blinks(self) -> bool:
        """Whether cursors blink."""
        return bool(getattr(self.app, "blinks", True))
