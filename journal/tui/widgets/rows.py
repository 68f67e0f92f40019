"""A list of rows that scrolls: the base of every pane. Draws only the lines that are on the screen."""

from __future__ import annotations

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from journal.tui.blocks.row import Row, console
from journal.tui.theme import Palette, palette


class Rows(ScrollView):
    """Shows `build(width)`. `mark_columns` columns are kept free at the left for a mark."""

    mark_columns = 1

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self.rows: list[Row] = []
        self._palette: Palette | None = None

    @property
    def palette(self) -> Palette:
        """The colours of the theme."""
        if self._palette is None:
            self._palette = palette(self.app.theme_variables, dark=self.app.current_theme.dark)
        return self._palette

    def repaint(self) -> None:
        """The theme changed."""
        self._palette = None
        self.rebuild()

    def build(self, width: int) -> list[Row]:
        """The rows at this width."""
        return self.rows

    def rebuild(self) -> None:
        """Build the rows again and draw them."""
        if not self.is_mounted or not self.size.width:
            return
        self.rows = self.build(max(1, self.size.width - self.mark_columns))
        self.virtual_size = Size(self.size.width, len(self.rows))
        self.refresh()

    def on_resize(self, event: events.Resize) -> None:
        """Rows are as wide as the pane."""
        self.rebuild()

    def mark(self, y: int) -> Segment | None:
        """What stands in the gutter of row `y`."""
        return None

    @property
    def ground(self) -> str:
        """The background of rows without one of their own."""
        return self.background_colors[1].hex6

    def render_line(self, y: int) -> Strip:
        """One line of the screen."""
        width = self.size.width
        ground = Style(bgcolor=self.ground)
        row = y + self.scroll_offset.y
        if row >= len(self.rows):
            return Strip.blank(width, ground)
        return strip_of(self.rows[row], width, ground, self.mark_columns, self.mark(row))


def strip_of(row: Row, width: int, ground: Style, gutter: int, mark: Segment | None) -> Strip:
    """A row as a strip exactly `width` wide."""
    behind = Style(bgcolor=row.fill) if row.fill else ground
    # Rich leaves the base style out where a text has no spans.
    base = behind + console.get_style(row.text.style)
    segments = [
        Segment(segment.text, base + segment.style if segment.style else base)
        for segment in row.text.render(console)
        if segment.text
    ]
    first = mark or Segment(" " * gutter, ground)
    body = Strip(segments).adjust_cell_length(max(0, width - gutter), behind)
    return Strip([Segment(first.text, ground + first.style if first.style else ground), *body])
