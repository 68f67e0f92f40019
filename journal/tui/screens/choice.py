"""A question with a few answers, each a key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Static

from journal.tui.blocks.row import Row, clean, joined, wrapped
from journal.tui.screens.dialog import Dialog
from journal.tui.widgets.rows import Rows

KEY_WIDTH = 4


@dataclass(frozen=True)
class Answer:
    """An answer: its key, what it gives, what it says."""

    key: str
    value: str
    text: str


class Choices(Rows, can_focus=True):
    """The answers, one lit."""

    def __init__(self, answers: Sequence[Answer]) -> None:
        super().__init__(id="choices")
        self.answers, self.selected = tuple(answers), 0
        self.styles.height = len(self.answers)
        self._rows_of: list[int] = []  # which answer each row belongs to

    def build(self, width: int) -> list[Row]:
        rows: list[Row] = []
        self._rows_of = []
        for index, answer in enumerate(self.answers):
            fill = self.palette.panel if index == self.selected else ""
            lines = wrapped(Text(answer.text, style=self.palette.text), width - KEY_WIDTH)
            for number, line in enumerate(lines):
                key = f" {answer.key}" if number == 0 else ""
                head = Text(f"{key:<{KEY_WIDTH}}", style=f"bold {self.palette.accent}")
                rows.append(Row(joined(head, line), fill))
                self._rows_of.append(index)
        self.styles.height = len(rows)
        return rows

    def go(self, by: int) -> None:
        """Light another answer."""
        self.selected = (self.selected + by) % len(self.answers)
        self.rebuild()
        self.scroll_to(y=max(0, self._rows_of.index(self.selected) - 3), animate=False)

    def on_click(self, event: events.Click) -> None:
        index = event.y + round(self.scroll_y)
        if 0 <= index < len(self._rows_of):
            self.screen.dismiss(self.answers[self._rows_of[index]].value)


class ChoiceScreen(Dialog):
    """Asks; gives the answer's value, or None when it was put off."""

    def __init__(self, title: str, lines: Sequence[str], answers: Sequence[Answer]) -> None:
        super().__init__()
        self._heading, self._lines, self._answers = title, lines, tuple(answers)

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as box:
            box.border_title = Text(clean(self._heading)).markup
            if self._lines:
                yield Static(Text("\n".join(clean(line) for line in self._lines)))
            yield Choices(self._answers)

    def on_mount(self) -> None:
        self.query_one(Choices).focus()

    def on_key(self, event: events.Key) -> None:
        """An answer's key, or moving among them."""
        choices = self.query_one(Choices)
        value = next((answer.value for answer in self._answers if answer.key == event.character), None)
        if value is not None:
            self.dismiss(value)
        elif event.key in ("escape", "ctrl+c", "ctrl+q"):
            self.dismiss(None)
        elif event.key == "enter":
            self.dismiss(self._answers[choices.selected].value)
        elif event.key in ("down", "j", "tab", "up", "k", "shift+tab"):
            choices.go(1 if event.key in ("down", "j", "tab") else -1)
        else:
            return
        event.stop()
        event.prevent_default()
