"""Adding cells of every kind."""

from __future__ import annotations

from typing import Any

from journal.document import REFERENCE_KINDS, Cell
from journal.tui.handlers.base import Base
from journal.tui.pointing import from_text
from journal.tui.screens.ask import AskScreen
from journal.tui.screens.choice import Answer, ChoiceScreen

KINDS = (
    Answer("s", "sh", "sh: shell commands"),
    Answer("p", "python", "python: in a kernel that stays"),
    Answer("n", "note", "note: Markdown"),
    Answer("h", "step", "step: a heading"),
    Answer("t", "ticket", "ticket: what is to be done"),
    Answer("d", "doc", "doc: a page, a part of one, an installed package"),
    Answer("c", "source", "source: a file or a symbol of it"),
    Answer("o", "other", "another language"),
)
POINTING_HINT = "a path, path#L10-L20, path#symbol, pypi:name#object, cmd:cell, file:ticket.md"


class Adding(Base):
    """What `a` asks for, and what comes of it."""

    def action_edit_add(self) -> None:
        after = self.cell

        def got(kind: str | None) -> None:
            if kind == "other":
                screen = AskScreen(
                    "Which language", hint="as a fence names it: rust, sql, r, ...", blink=self.blinks
                )
                self.app.push_screen(screen, lambda text: self._add(after, text.strip()) if text else None)
            elif kind is not None:
                self._add(after, kind)

        self.app.push_screen(ChoiceScreen("Add a cell", (), KINDS), got)

    def _add(self, after: Cell | None, kind: str) -> None:
        if kind == "step":
            screen = AskScreen("The step's title", blink=self.blinks)
            self.app.push_screen(screen, lambda text: self._add_step(after, text))
        elif kind in REFERENCE_KINDS:
            screen = AskScreen(f"What the {kind} points to", hint=POINTING_HINT, blink=self.blinks)
            self.app.push_screen(screen, lambda text: self._add_reference(after, kind, text))
        elif kind == "note":
            if self._insert(after, kind, text="…") and self.cell is not None:
                self.open_editor(self.cell, select=True)
        elif self._insert(after, kind, text="") and self.cell is not None:
            self.open_editor(self.cell)

    def _end_of_step(self, cell: Cell | None) -> Cell | None:
        """A new step goes behind all of the present one."""
        step = self.session.journal.step_of(cell) if cell is not None else None
        inside = self.session.journal.cells_of(step) if step is not None else ()
        return inside[-1] if inside else step or cell

    def _add_step(self, after: Cell | None, title: str | None) -> None:
        if title is not None and title.strip():
            self._insert(self._end_of_step(after), "step", meta={"state": "todo"}, title=title.strip())

    def _add_reference(self, after: Cell | None, kind: str, text: str | None) -> None:
        if text is not None and text.strip():
            meta = {name: value for name, value in from_text(text).items() if value is not None}
            self._insert(after, kind, meta=meta)

    def _insert(
        self,
        after: Cell | None,
        kind: str,
        *,
        text: str = "",
        meta: dict[str, Any] | None = None,
        title: str = "",
    ) -> bool:
        cells = self.session.journal.cells
        if after is None and cells and cells[0].kind == "front":
            after = cells[0]
        return self.attempt(lambda: self.session.insert(after, kind, text=text, meta=meta, title=title))
