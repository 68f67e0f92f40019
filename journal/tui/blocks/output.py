"""What a cell printed: the last lines while it runs, head and tail when it is long, all when unfolded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.ansi import AnsiDecoder
from rich.text import Text

from journal.tui.blocks.row import Row, clean, folded

if TYPE_CHECKING:
    from journal.session.output import Lines
    from journal.tui.theme import Palette

FOLDED_LINES = 12
UNFOLDED_LINES = 2_000
_LINE_CHARS = 1_000


def output_rows(lines: Lines, width: int, palette: Palette, *, unfolded: bool) -> list[Row]:
    """The output in rows with a thin bar before them."""
    extract = lines.extract(UNFOLDED_LINES if unfolded else FOLDED_LINES)
    head, tail = list(extract.head), list(extract.tail)
    if not extract.hidden:
        while head and not head[-1].strip():
            head.pop()
    rows = _rows(head, width, palette)
    if extract.hidden:
        rows.append(
            _barred(Text(f"⋯ {extract.hidden:,} more lines   o shows all", style=palette.muted), palette)
        )
        rows += _rows(tail, width, palette)
    return rows


def _rows(lines: list[str], width: int, palette: Palette) -> list[Row]:
    decoder = AnsiDecoder()
    rows = []
    for line in lines:
        text = _plain(decoder.decode_line(line[:_LINE_CHARS]), palette)
        rows += [_barred(piece, palette) for piece in folded(text, max(1, width - 2))]
    return rows


def _plain(text: Text, palette: Palette) -> Text:
    """The text without characters that could reach the terminal, and without links somebody else chose."""
    shown = clean(text.plain) if "\t" not in text.plain else ""
    if not shown:
        text.expand_tabs(8)
        shown = clean(text.plain)
    spans = [span for span in text.spans if not getattr(span.style, "link", None)]
    return Text(shown, style=palette.text, spans=spans, no_wrap=True, end="")


def _barred(text: Text, palette: Palette) -> Row:
    return Row(Text("│ ", style=palette.faint, end="").append_text(text))
