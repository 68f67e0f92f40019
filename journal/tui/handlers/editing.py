"""Editing cells: in place, in another editor, moving, deleting, undo."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine.errors import SteerwayError
from journal import compose
from journal.document import REFERENCE_KINDS, Cell
from journal.tui import outside_editor
from journal.tui.handlers.adding import POINTING_HINT, Adding
from journal.tui.pointing import from_text, meta_changes
from journal.tui.screens.ask import AskScreen
from journal.tui.widgets.cells import GUTTER, MARGIN, Cells

if TYPE_CHECKING:
    from textual.widgets import TextArea

    from journal.tui.widgets.editor import Editor


class Editing(Adding):
    """Changes to the document."""

    editor: Editor | None = None

    # -- in place

    def action_edit_cell(self) -> None:
        cell = self.cell
        if cell is None:
            self.action_edit_add()
        elif self.editor is not None:
            self.editor.focus()
        elif cell.kind == "step":
            self._ask_title(cell)
        elif cell.kind in REFERENCE_KINDS:
            self._ask_reference(cell)
        else:
            self.open_editor(cell)

    def on_cells_edit(self, message: Cells.Edit) -> None:
        message.stop()
        self.action_edit_cell()

    def open_editor(self, cell: Cell, *, select: bool = False) -> None:
        from journal.tui.widgets.editor import Editor

        self.editor = Editor(cell, cell.text, self.cells.palette, blink=self.blinks)
        self.facts.editing = (cell.key, max(3, cell.text.count("\n") + 1))
        self.cells.changed([cell.key])
        self.query_one("#cells-pane").mount(self.editor)
        self.place_editor()
        self.cells.reveal()
        if select:
            self.editor.select_all()
        self.editor.focus()

    def place_editor(self) -> None:
        """Lay the editor over its cell."""
        editor, cells = self.editor, self.cells
        if editor is None or self.facts.editing is None:
            return
        key = self.facts.editing[0]
        index = next((i for i, cell in enumerate(cells.cells) if cell.key == key), None)
        if index is None:
            return
        region = cells.region_of(index)
        editor.styles.width = max(10, cells.size.width - GUTTER - MARGIN)
        editor.styles.height = self.facts.editing[1]
        editor.styles.offset = (GUTTER, region.y + 1)

    def on_cells_moved(self, message: Cells.Moved) -> None:
        message.stop()
        self.place_editor()

    def on_editor_typed(self, message: Editor.Typed) -> None:
        message.stop()
        if self.editor is None:
            return
        self.session.type(message.cell, message.text)
        self._fit_editor()
        self.show_state()

    def on_text_area_selection_changed(self, message: TextArea.SelectionChanged) -> None:
        """Keep the line of the cursor on the screen."""
        message.stop()
        self._fit_editor()

    def _fit_editor(self) -> None:
        editor, editing = self.editor, self.facts.editing
        if editor is None or editing is None or not editor.is_mounted:
            return
        rows = editor.wanted_rows
        if rows != editing[1]:
            self.facts.editing = (editing[0], rows)
            self.cells.changed([editing[0]])
        offset = editor.wrapped_document.location_to_offset(editor.cursor_location)
        self.cells.reveal(row=1 + offset.y)

    def finish_editing(self) -> bool:
        """Take over what is being typed; False when it cannot stand in its cell (it stays in the editor)."""
        editor = self.editor
        if editor is None:
            return True
        try:
            cell = self.session.commit(editor.cell, editor.text)
        except SteerwayError as error:
            self.failed(error)
            return False
        self._close_editor()
        self.show_document(cell.key if cell is not None else None)
        return True

    def _close_editor(self) -> None:
        editor, self.editor = self.editor, None
        self.facts.editing = None
        if editor is not None:
            editor.remove()
        self.cells.focus()

    def action_editor_done(self) -> None:
        self.finish_editing()

    def action_editor_run(self) -> None:
        if self.finish_editing():
            self.action_run_cell()

    def action_editor_save(self) -> None:
        if self.finish_editing():
            self.action_file_save()

    def action_editor_outside(self) -> None:
        if self.finish_editing():
            self.action_edit_in_editor()

    # -- in another editor

    def action_edit_in_editor(self) -> None:
        cell = self.cell
        if cell is None or cell.kind == "step" or cell.kind in REFERENCE_KINDS:
            self.action_edit_cell()
            return

        def edit() -> None:
            try:
                text = outside_editor.edit(self.app, cell)
            except SteerwayError as error:
                self.failed(error)
                return
            self.refresh(layout=True)
            if text is not None and text != cell.text:
                self.attempt(lambda: self.session.replace_text(cell, text))

        # Between two paints: the driver must not be suspended in the middle of one.
        self.call_after_refresh(edit)

    # -- other edits

    def _ask_title(self, step: Cell) -> None:
        def got(text: str | None) -> None:
            if text is not None:
                self.attempt(lambda: self.session.replace_text(step, text))

        self.app.push_screen(
            AskScreen("The step's title", value=step.text or step.title, blink=self.blinks), got
        )

    def _ask_reference(self, cell: Cell) -> None:
        from journal.references import parse_reference

        origin = parse_reference(cell).origin

        def got(text: str | None) -> None:
            if text is not None and text.strip() and text != origin:
                self.attempt(lambda: self._point(cell, text))

        screen = AskScreen(
            f"What the {cell.kind} points to", value=origin, hint=POINTING_HINT, blink=self.blinks
        )
        self.app.push_screen(screen, got)

    def _point(self, cell: Cell, text: str) -> Cell | None:
        """Let a reference lead elsewhere; its link follows when it was made from the old place."""
        made = cell.text == compose.link(dict(cell.meta), "")
        changes = meta_changes(from_text(text), cell)
        cell = self.session.set_meta(cell, **changes)
        return self.session.replace_text(cell, compose.link(dict(cell.meta), "")) if made else cell

    def action_edit_delete(self) -> None:
        cell = self.cell
        if cell is not None and self.attempt(lambda: self.session.remove(cell)):
            self.say(f"the {cell.kind} cell is gone; u brings it back")

    def action_edit_move_down(self) -> None:
        self._move(1)

    def action_edit_move_up(self) -> None:
        self._move(-1)

    def _move(self, by: int) -> None:
        cell = self.cell
        if cell is not None:
            self.attempt(lambda: self.session.move(cell, by))

    def action_edit_copy(self) -> None:
        if self.cell is not None:
            self.app.copy_to_clipboard(self.cell.text)
            self.say("text copied")

    def action_edit_undo(self) -> None:
        self._travel(self.session.undo(), "nothing to undo")

    def action_edit_redo(self) -> None:
        self._travel(self.session.redo(), "nothing to redo")

    def _travel(self, focus: str | None, nothing: str) -> None:
        if focus is None:
            self.say(nothing)
            return
        self.show_document(focus or None)

    def action_edit_take_ours(self) -> None:
        self._settle("ours")

    def action_edit_take_theirs(self) -> None:
        self._settle("theirs")

    def action_edit_take_both(self) -> None:
        self._settle("both")

    def _settle(self, side: Any) -> None:
        cell = self.cell
        if cell is None or cell.kind != "conflict":
            self.say("1, 2 and 3 settle a merge conflict; this cell has none")
            return

        def settle() -> None:
            self.session.resolve(cell, side)

        self.attempt(settle)

    # -- steps

    def action_step_state(self) -> None:
        step = self.here
        cell = self.cell
        if step is None or cell is None:
            self.say("this cell is in no step")
            return
        index = cell.index

        def change() -> Cell:
            self.session.set_state(step, self.session.next_state(step))
            return self.session.journal.cells[index]

        self.attempt(change)
