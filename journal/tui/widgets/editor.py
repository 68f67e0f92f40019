"""Edits a cell's text where the cell stands."""

from __future__ import annotations

from textual import events
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.widgets import TextArea
from textual.widgets.text_area import TextAreaTheme

from journal.document import Cell
from journal.tui.actions import bindings
from journal.tui.theme import Palette

LEAST_ROWS = 3
_LANGUAGES = {
    "sh": "bash",
    "bash": "bash",
    "zsh": "bash",
    "note": "markdown",
    "py": "python",
    "js": "javascript",
}


class Editor(TextArea):
    """A text area that says when its text changed and when it is done."""

    BINDINGS = bindings("editor")

    class Typed(Message):
        """The text is another."""

        def __init__(self, cell: Cell, text: str) -> None:
            super().__init__()
            self.cell, self.text = cell, text

    def __init__(self, cell: Cell, text: str, palette: Palette, *, blink: bool) -> None:
        super().__init__(
            text,
            soft_wrap=True,
            tab_behavior="indent",
            show_line_numbers=False,
            id="editor",
            compact=True,
            highlight_cursor_line=False,
        )
        self.cell = cell
        self.cursor_blink = blink
        self.register_theme(_theme(palette))
        self.theme = "steerway"
        language = _LANGUAGES.get(cell.kind, cell.kind)
        if cell.is_code and language in self.available_languages:
            self.language = language
        self.indent_width = 4

    def on_text_area_changed(self, event: TextArea.Changed) -> None:
        """Hand on what was typed."""
        event.stop()
        self.post_message(self.Typed(self.cell, self.text))

    @property
    def wanted_rows(self) -> int:
        """Rows the text needs at this width."""
        return max(LEAST_ROWS, self.wrapped_document.height)

    def on_focus(self, event: events.Focus) -> None:
        self.refresh()

    def render_lines(self, crop: Region) -> list[Strip]:
        if self.parent is None:
            # A paint between its removal and the next layout: its styles are gone already.
            return [Strip.blank(crop.width)] * crop.height
        return super().render_lines(crop)


def _theme(palette: Palette) -> TextAreaTheme:
    from rich.style import Style

    def colour(name: str, *, italic: bool = False) -> Style:
        return Style(color=name, italic=italic or None)

    return TextAreaTheme(
        name="steerway",
        base_style=Style(color=palette.text, bgcolor=palette.panel),
        cursor_style=Style(color=palette.background, bgcolor=palette.accent),
        selection_style=Style(bgcolor=palette.theirs),
        bracket_matching_style=Style(bold=True, underline=True),
        syntax_styles={
            "comment": colour(palette.muted, italic=True),
            "string": colour(palette.string),
            "string.documentation": colour(palette.string),
            "keyword": colour(palette.keyword),
            "keyword.function": colour(palette.keyword),
            "keyword.return": colour(palette.keyword),
            "keyword.operator": colour(palette.keyword),
            "conditional": colour(palette.keyword),
            "repeat": colour(palette.keyword),
            "include": colour(palette.keyword),
            "exception": colour(palette.keyword),
            "operator": colour(palette.text),
            "number": colour(palette.number),
            "float": colour(palette.number),
            "boolean": colour(palette.number),
            "constant.builtin": colour(palette.number),
            "function": colour(palette.function),
            "function.call": colour(palette.function),
            "method": colour(palette.function),
            "method.call": colour(palette.function),
            "type": colour(palette.type),
            "class": colour(palette.type),
            "type.builtin": colour(palette.type),
        },
    )
