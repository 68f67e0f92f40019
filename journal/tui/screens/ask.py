"""A question with a line for the answer."""

from __future__ import annotations

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Input, Static

from journal.tui.blocks.row import clean
from journal.tui.screens.dialog import Dialog


class AskScreen(Dialog):
    """Asks for a line; gives it, or None when it was put off."""

    def __init__(
        self, title: str, *, value: str = "", hint: str = "", password: bool = False, blink: bool = True
    ) -> None:
        super().__init__()
        self._heading, self._value, self._hint = title, value, hint
        self._password, self._blink = password, blink

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as box:
            box.border_title = Text(clean(self._heading)).markup
            line = Input(self._value, password=self._password, select_on_focus=False, compact=True)
            line.cursor_blink = self._blink
            yield line
            if self._hint:
                yield Static(Text(self._hint), classes="hint")

    def on_mount(self) -> None:
        self.query_one(Input).focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.dismiss(event.value)

    def on_key(self, event: events.Key) -> None:
        """Escape puts it off."""
        if event.key in ("escape", "ctrl+c", "ctrl+q"):
            event.stop()
            self.dismiss(None)
