"""The cells of a journal, drawn on demand: a journal of a thousand opens like one of ten.

Heights of cells that were never on the screen are estimates; a cell is laid out when it comes into view, and
what is already on the screen stays where it is when a height turns out different.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import accumulate

from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual import events
from textual.geometry import Region, Size
from textual.message import Message
from textual.strip import Strip

from journal.document import Cell
from journal.tui.actions import bindings
from journal.tui.blocks import cell_rows, estimated_rows
from journal.tui.blocks.row import Row
from journal.tui.blocks.view import View
from journal.tui.widgets.rows import Rows, strip_of

GUTTER = 3
MARGIN = 2
KEPT_BLOCKS = 400


@dataclass(slots=True)
class Block:
    """A cell laid out: for which state of it, its rows, and those drawn so far."""

    view: View
    rows: list[Row]
    strips: dict[tuple[int, str], Strip] = field(default_factory=dict)


class Cells(Rows, can_focus=True):
    """The list. `view` says how a cell is to be drawn and must be quick."""

    BINDINGS = bindings("cells")
    mark_columns = GUTTER

    class Selected(Message):
        """Another cell is the one that actions mean."""

    class Edit(Message):
        """The selected cell was clicked twice."""

    class Moved(Message):
        """Cells are elsewhere on the screen: what lies over them has to follow."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self.view: Callable[[Cell], View] = lambda cell: View(cell)
        self.placeholder: tuple[str, ...] = ()
        self.cells: tuple[Cell, ...] = ()
        self.selected = 0
        self._blocks: dict[str, Block] = {}
        self._heights: list[int] = []
        self._known: dict[str, int] = {}
        self._tops: list[int] = [0]

    # -- what is shown

    def show(self, cells: tuple[Cell, ...], *, selected: str | None = None) -> None:
        """Show these cells; the cell with the key `selected`, else the one at the same place, is selected."""
        before = self.cell
        wanted = selected if selected is not None else before.key if before else None
        self.cells = cells
        index = next((i for i, cell in enumerate(cells) if cell.key == wanted), self.selected)
        self.selected = max(0, min(index, len(cells) - 1))
        if len(self._blocks) > KEPT_BLOCKS:
            self._blocks.clear()
        self._measure_all()
        self.settle()

    def changed(self, keys: Iterable[str] | None = None) -> None:
        """These cells (None: any) may look different now."""
        if keys is None:
            self.settle()
            return
        for key in keys:
            self._blocks.pop(key, None)
        self.settle()

    def shows(self, keys: Iterable[str]) -> bool:
        """Whether any of these cells is on the screen."""
        top = round(self.scroll_y)
        first, last = self._at(top), self._at(top + self.size.height)
        wanted = set(keys)
        return bool(self.cells) and any(cell.key in wanted for cell in self.cells[first : last + 1])

    def repaint(self) -> None:
        """The theme changed: nothing drawn so far is right."""
        self._blocks.clear()
        super().repaint()

    def rebuild(self) -> None:
        """The width changed."""
        if self.is_mounted and self.size.width:
            self._blocks.clear()
            self._known.clear()
            self._measure_all()
            self.settle()

    @property
    def cell(self) -> Cell | None:
        """The selected cell."""
        return self.cells[self.selected] if 0 <= self.selected < len(self.cells) else None

    @property
    def _inner(self) -> int:
        return max(8, self.size.width - GUTTER - MARGIN)

    def _measure_all(self) -> None:
        width = self._inner
        self._heights = [self._known.get(cell.key) or estimated_rows(cell, width) + 1 for cell in self.cells]
        self._sum()

    def _sum(self) -> None:
        self._tops = list(accumulate(self._heights, initial=1))

    def _block(self, index: int) -> Block:
        """The rows of a cell, laid out now if they were not, or were for another state of it."""
        cell = self.cells[index]
        view = self.view(cell)
        kept = self._blocks.get(cell.key)
        if kept is not None and kept.view == view:
            return kept
        block = self._blocks[cell.key] = Block(view, cell_rows(view, self._inner, self.palette))
        self._known[cell.key] = len(block.rows) + 1
        return block

    def settle(self) -> None:
        """Lay out what is on the screen, keep it in place, and draw."""
        if not self.is_mounted or not self.size.width:
            return
        self._lay_out(round(self.scroll_y))
        size = Size(self.size.width, self._tops[-1] + 1)
        if size != self.virtual_size:
            self.virtual_size = size
        self.refresh()
        self.post_message(self.Moved())

    def _lay_out(self, top: int) -> None:
        """Measure every cell that a screen from row `top` on shows."""
        for _ in range(8 if self.cells else 0):
            first, last = self._at(top), self._at(top + self.size.height)
            different = False
            for index in range(first, last + 1):
                height = len(self._block(index).rows) + 1
                if height != self._heights[index]:
                    self._heights[index] = height
                    different = True
            if not different:
                return
            self._sum()

    def _at(self, row: int) -> int:
        """The index of the cell at a row of the whole list."""
        return max(0, min(bisect_right(self._tops, row) - 1, len(self.cells) - 1)) if self.cells else -1

    # -- where the user is

    def select(self, index: int) -> None:
        """Select a cell by place and bring it into view."""
        if not self.cells:
            return
        index = max(0, min(index, len(self.cells) - 1))
        moved = index != self.selected
        self.selected = index
        self.reveal()
        if moved:
            self.post_message(self.Selected())

    def select_key(self, key: str) -> None:
        """Select the cell with this key, if there is one."""
        for index, cell in enumerate(self.cells):
            if cell.key == key:
                self.select(index)
                return

    def reveal(self, row: int | None = None) -> None:
        """Scroll as little as possible so that the selected cell, or a row of it, is on the screen."""
        height = self.size.height
        if not self.cells or not height:
            return
        top = round(self.scroll_y)
        for _ in range(3):
            self._block_measured(self.selected)
            start, end = self._tops[self.selected], self._tops[self.selected + 1]
            if row is not None:
                start, end = start + row, start + row + 2
            if end - start > height or start < top:
                top = start - 1
            elif end > top + height:
                top = end - height
            top = max(0, top)
            before = list(self._tops)
            self._lay_out(top)
            if before == self._tops:
                break
        self.virtual_size = Size(self.size.width, self._tops[-1] + 1)
        self.scroll_to(y=top, animate=False, immediate=True)
        self.refresh()
        self.post_message(self.Moved())

    def _block_measured(self, index: int) -> None:
        height = len(self._block(index).rows) + 1
        if height != self._heights[index]:
            self._heights[index] = height
            self._sum()

    def action_move_next_cell(self) -> None:
        self._step(1)

    def action_move_previous_cell(self) -> None:
        self._step(-1)

    def _step(self, by: int) -> None:
        """Go to the next cell; first through one that is taller than the screen."""
        height = self.size.height
        top = round(self.scroll_y)
        if self.cells and self._heights[self.selected] > height:
            start, end = self._tops[self.selected], self._tops[self.selected + 1]
            if by > 0 and end > top + height:
                self.scroll_to(y=min(top + height // 2, end - height), animate=False)
                return
            if by < 0 and start < top:
                self.scroll_to(y=max(top - height // 2, start - 1), animate=False)
                return
        self.select(self.selected + by)

    def action_move_first_cell(self) -> None:
        self.select(0)

    def action_move_last_cell(self) -> None:
        self.select(len(self.cells) - 1)

    def action_move_page_down(self) -> None:
        self._page(1)

    def action_move_page_up(self) -> None:
        self._page(-1)

    def _page(self, direction: int) -> None:
        """Scroll by half a screen; the selection comes along when it would leave."""
        top = round(self.scroll_y) + direction * max(1, self.size.height // 2)
        top = max(0, min(top, self._tops[-1] + 1 - self.size.height))
        self._lay_out(top)
        self.scroll_to(y=top, animate=False, immediate=True)
        first, last = self._at(top + 1), self._at(top + self.size.height - 2)
        at_edge = top <= 0 if direction < 0 else top >= self._tops[-1] + 1 - self.size.height
        wanted = (0 if direction < 0 else last) if at_edge else max(first, min(self.selected, last))
        if wanted != self.selected and self.cells:
            self.selected = wanted
            self.post_message(self.Selected())
        self.settle()

    # -- drawing

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """What comes into view has to be laid out before it is drawn."""
        super().watch_scroll_y(old_value, new_value)
        if round(old_value) != round(new_value):
            self.settle()

    def on_focus(self) -> None:
        self.refresh()

    def on_blur(self) -> None:
        self.refresh()

    def region_of(self, index: int) -> Region:
        """Where a cell's rows are, relative to the list; may be off the screen."""
        top = self._tops[index] - round(self.scroll_y)
        return Region(GUTTER, top, self._inner, self._heights[index] - 1)

    def render_line(self, y: int) -> Strip:
        """One line of the screen."""
        width, ground = self.size.width, Style(bgcolor=self.ground)
        row = y + self.scroll_offset.y
        if not self.cells:
            return self._render_placeholder(y, ground)
        index = bisect_right(self._tops, row) - 1
        if not 0 <= index < len(self.cells):
            return Strip.blank(width, ground)
        block = self._block(index)
        inside = row - self._tops[index]
        if inside >= len(block.rows):
            return Strip.blank(width, ground)
        colour = self._mark(index)
        strip = block.strips.get((inside, colour))
        if strip is None:
            mark = Segment(" ▌ ", Style(color=colour)) if colour else None
            drawn = strip_of(block.rows[inside], GUTTER + self._inner, ground, GUTTER, mark)
            strip = block.strips[inside, colour] = drawn.adjust_cell_length(width, ground)
        return strip

    def _mark(self, index: int) -> str:
        """The colour of the bar beside a cell; "" for none."""
        if index != self.selected:
            return ""
        focused = self.screen.focused
        lit = focused is self or (focused is not None and focused.id == "editor")
        return self.palette.accent if lit else self.palette.faint

    def _render_placeholder(self, y: int, ground: Style) -> Strip:
        line = y - max(1, (self.size.height - len(self.placeholder)) // 3)
        text = self.placeholder[line] if 0 <= line < len(self.placeholder) else ""
        style = self.palette.muted if line else f"bold {self.palette.primary}"
        return strip_of(Row(Text(text, style=style)), self.size.width, ground, GUTTER, None)

    # -- the mouse

    def on_click(self, event: events.Click) -> None:
        """Select what is clicked; twice: edit it."""
        index = self._at(event.y + round(self.scroll_y))
        if index < 0:
            return
        self.focus()
        self.select(index)
        if event.chain == 2:
            self.post_message(self.Edit())
