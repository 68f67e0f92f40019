"""Every key, from the table of actions; and any other text that is read and put away."""

from __future__ import annotations

from collections.abc import Callable

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical

from journal.tui.actions import ACTIONS, GROUPS, Action
from journal.tui.blocks.row import Row, joined, wrapped
from journal.tui.screens.dialog import Dialog
from journal.tui.theme import Palette
from journal.tui.widgets.rows import Rows

Build = Callable[[int, Palette], list[Row]]


class _Page(Rows, can_focus=True):
    def __init__(self, build: Build) -> None:
        super().__init__(id="help-rows")
        self._build = build

    def build(self, width: int) -> list[Row]:
        return self._build(width - 1, self.palette)


class TextScreen(Dialog):
    """A page over the journal; any of Esc, q, Enter closes it."""

    def __init__(self, title: str, build: Build) -> None:
        super().__init__()
        self._heading, self._build_rows = title, build

    def compose(self) -> ComposeResult:
        with Vertical(id="help", classes="dialog") as box:
            box.border_title = self._heading
            box.border_subtitle = "Esc closes"
            yield _Page(self._build_rows)

    def on_mount(self) -> None:
        self.query_one(_Page).focus()

    def on_key(self, event: events.Key) -> None:
        """Scroll, or close."""
        page = self.query_one(_Page)
        if event.key in ("escape", "q", "enter", "question_mark", "ctrl+c", "ctrl+q"):
            event.stop()
            self.dismiss(None)
        elif event.key in ("j", "k"):
            page.scroll_relative(y=1 if event.key == "j" else -1, animate=False)


def help_rows(width: int, palette: Palette) -> list[Row]:
    """All actions by group, in two columns where there is room."""
    blocks = [_group(group, palette, width // 2 - 2 if width >= 80 else width) for group in GROUPS]
    if width < 80:
        return [row for block in blocks for row in block]
    left: list[Row] = []
    right: list[Row] = []
    for block in blocks:
        (left if len(left) <= len(right) else right).extend(block)
    return _beside(left, right, width // 2)


def _beside(left: list[Row], right: list[Row], width: int) -> list[Row]:
    rows = []
    for index in range(max(len(left), len(right))):
        line = joined(left[index].text) if index < len(left) else Text()
        line.append(" " * max(0, width - line.cell_len))
        rows.append(Row(line.append_text(right[index].text) if index < len(right) else line))
    return rows


def _group(group: str, palette: Palette, width: int) -> list[Row]:
    rows = [Row(Text(group, style=f"bold {palette.primary}"))]
    for action in ACTIONS:
        if action.group == group:
            rows += _action(action, palette, width)
    return [*rows, Row(Text())]


def _action(action: Action, palette: Palette, width: int) -> list[Row]:
    keys = 14
    lines = wrapped(Text(action.description, style=palette.text), max(10, width - keys))
    first = joined(Text(f"{action.shown_keys:<{keys - 1}} ", style=palette.accent), lines[0])
    return [Row(first), *(Row(Text(" " * keys).append_text(line)) for line in lines[1:])]
