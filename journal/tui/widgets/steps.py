"""The steps and their states."""

from __future__ import annotations

from dataclasses import dataclass

from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual import events
from textual.message import Message

from journal.tui.actions import bindings
from journal.tui.blocks.plain import STATE_MARKS, state_of, state_style
from journal.tui.blocks.row import Row, clean
from journal.tui.widgets.rows import Rows


@dataclass(frozen=True)
class StepLine:
    """A step in the list. `running` and `failed` tell of its cells."""

    key: str
    title: str
    state: str
    current: bool = False
    running: bool = False
    failed: bool = False


class Steps(Rows, can_focus=True):
    """A line a step; the one the selected cell is in is lit."""

    BINDINGS = bindings("steps")
    mark_columns = 2

    class Chosen(Message):
        """Go to the cells of this step."""

        def __init__(self, key: str) -> None:
            super().__init__()
            self.key = key

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self.lines: tuple[StepLine, ...] = ()
        self.selected = 0

    def show(self, lines: tuple[StepLine, ...], here: str | None) -> None:
        """Show these steps; `here` is the key of the one whose cells are looked at."""
        index = next((i for i, line in enumerate(lines) if line.key == here), self.selected)
        selected = max(0, min(index, len(lines) - 1))
        if (lines, selected) != (self.lines, self.selected) or not self.rows:
            self.lines, self.selected = lines, selected
            self.rebuild()
            self._reveal()

    def light(self, here: str | None) -> None:
        """The step with the key `here` is the one that is looked at."""
        index = next((i for i, line in enumerate(self.lines) if line.key == here), -1)
        if index not in (-1, self.selected):
            self.selected = index
            self.rebuild()
            self._reveal()

    @property
    def step(self) -> StepLine | None:
        """The lit step."""
        return self.lines[self.selected] if 0 <= self.selected < len(self.lines) else None

    def build(self, width: int) -> list[Row]:
        """The heading, a blank line, the steps."""
        muted = self.palette.muted
        done = sum(line.state == "done" for line in self.lines)
        count = f"  {done}/{len(self.lines)}" if self.lines else ""
        rows = [Row(Text().append("Steps", style=f"bold {muted}").append(count, style=muted)), Row(Text())]
        rows += [self._row(line, index, width - 1) for index, line in enumerate(self.lines)]
        if not self.lines:
            rows.append(Row(Text("none yet: a, then h", style=muted)))
        return rows

    def _row(self, line: StepLine, index: int, width: int) -> Row:
        state = state_of(line.state)
        text = Text().append(f"{STATE_MARKS[state]} ", style=state_style(state, self.palette))
        weight = "bold " if line.current else ""
        colour = self.palette.text if state in ("todo", "doing") else self.palette.muted
        strike = "strike " if state == "dropped" else ""
        text.append(clean(line.title) or "no title", style=f"{weight}{strike}{colour}")
        tail = " ●" if line.running else " ✗" if line.failed else " ▶" if line.current else ""
        text.truncate(max(1, width - len(tail)), overflow="ellipsis", pad=bool(tail))
        style = self.palette.error if line.failed and not line.running else self.palette.accent
        text.append(tail, style=style)
        return Row(text, self.palette.panel if index == self.selected else "")

    def mark(self, y: int) -> Segment | None:
        """A bar beside the lit step."""
        if y - 2 != self.selected or not self.lines:
            return None
        colour = self.palette.accent if self.has_focus else self.palette.faint
        return Segment(" ▌", Style(color=colour))

    def _reveal(self) -> None:
        row, top, height = self.selected + 2, round(self.scroll_y), self.size.height
        if height and not top <= row < top + height:
            self.scroll_to(y=max(0, row - height // 2), animate=False)

    def _go(self, index: int) -> None:
        if self.lines:
            self.selected = max(0, min(index, len(self.lines) - 1))
            self.rebuild()
            self._reveal()
            self.post_message(self.Chosen(self.lines[self.selected].key))

    def action_steps_next(self) -> None:
        self._go(self.selected + 1)

    def action_steps_previous(self) -> None:
        self._go(self.selected - 1)

    def action_steps_open(self) -> None:
        self._go(self.selected)
        self.screen.action_focus_cells()  # type: ignore[attr-defined]

    def on_click(self, event: events.Click) -> None:
        index = event.y + round(self.scroll_y) - 2
        if 0 <= index < len(self.lines):
            self.focus()
            self._go(index)

    def on_focus(self) -> None:
        self.rebuild()

    def on_blur(self) -> None:
        self.rebuild()
