"""Moving about, the current step, finding text, showing and hiding panes."""

from __future__ import annotations

from rich.text import Text

from journal.document import Cell
from journal.tui.blocks.row import Row, clean, wrapped
from journal.tui.handlers.base import Base
from journal.tui.screens.ask import AskScreen
from journal.tui.screens.help import TextScreen, help_rows
from journal.tui.theme import Palette
from journal.tui.widgets.steps import Steps


class Moving(Base):
    """What changes nothing in the document."""

    _sought = ""

    def action_focus_cells(self) -> None:
        self.cells.focus()

    def action_move_next_pane(self) -> None:
        self.focus_next("Cells, Steps, Context")

    def action_move_previous_pane(self) -> None:
        self.focus_previous("Cells, Steps, Context")

    def action_move_first_cell(self) -> None:
        self.cells.select(0)

    def action_move_last_cell(self) -> None:
        self.cells.select(len(self.cells.cells) - 1)

    def action_move_next_step(self) -> None:
        self._to_step(1)

    def action_move_previous_step(self) -> None:
        self._to_step(-1)

    def _to_step(self, by: int) -> None:
        steps, cell = self.session.journal.steps, self.cell
        if cell is None or not steps:
            return
        if by > 0:
            found = next((step for step in steps if step.index > cell.index), None)
        else:
            found = next((step for step in reversed(steps) if step.index < cell.index), None)
        if found is not None:
            self.cells.select(found.index)

    def on_steps_chosen(self, message: Steps.Chosen) -> None:
        message.stop()
        self.cells.select_key(message.key)

    # -- finding

    def action_move_find(self) -> None:
        def got(text: str | None) -> None:
            if text:
                self._sought = text
                self.action_move_find_again()

        self.app.push_screen(AskScreen("Find", value=self._sought, blink=self.blinks), got)

    def action_move_find_again(self) -> None:
        if not self._sought:
            self.action_move_find()
            return
        cells = self.cells.cells
        start = self.cells.selected + 1
        for cell in (*cells[start:], *cells[:start]):
            if self._has(cell):
                self.cells.select(cell.index)
                return
        self.say(f"{self._sought!r} is nowhere in the journal")

    def _has(self, cell: Cell) -> bool:
        wanted = self._sought.casefold()
        return any(wanted in part.casefold() for part in (cell.text, cell.name, cell.id))

    # -- the current step

    def action_step_current(self) -> None:
        step = self.here
        if step is None:
            self.say("this cell is in no step")
            return
        self.session.step_key = step.key
        self.facts.reading = None
        self.show_document()
        self.background("step", lambda: self.session.remember_step(step))
        self.say(f"at {step.title}: suggestions read this step's documents now")

    # -- panes

    def action_view_context(self) -> None:
        self._toggle("context")

    def action_view_steps(self) -> None:
        self._toggle("steps")

    def _toggle(self, pane: str) -> None:
        widget = self.query_one(f"#{pane}")
        shown = not widget.display
        widget.display = shown
        self.panes_chosen[pane] = shown
        if not shown and widget.has_focus:
            self.cells.focus()
        if shown:
            self.look_again()

    def action_view_help(self) -> None:
        self.app.push_screen(TextScreen("Keys", help_rows))

    def action_view_palette(self) -> None:
        self.app.action_command_palette()

    def action_view_theme(self) -> None:
        dark = self.app.current_theme.dark
        self.app.theme = "steerway-light" if dark else "steerway-dark"

    def action_file_problems(self) -> None:
        problems = [f"line {one.line}: {one.message}" for one in self.session.journal.problems]
        if self.facts.reading is not None:
            problems += [f"in the context: {one}" for one in self.facts.reading.taken.problems]
        problems += self.session.workspace.state.problems

        def build(width: int, palette: Palette) -> list[Row]:
            said = problems or ["nothing is wrong with this journal"]
            style = palette.warning if problems else palette.success
            return [Row(line) for one in said for line in wrapped(Text(clean(one), style=style), width)]

        self.app.push_screen(TextScreen("Problems", build))
