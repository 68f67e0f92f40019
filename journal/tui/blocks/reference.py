"""A ticket, document or source as a card: what it is, where it leads, what it costs, what became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from journal.references import parse_reference
from journal.tui.blocks.row import Row, clean, folded, spread

if TYPE_CHECKING:
    from journal.tui.blocks.view import View
    from journal.tui.theme import Palette

_MARKS = {"ticket": "◆", "doc": "▤", "source": "λ"}


def reference_rows(view: View, width: int, palette: Palette) -> list[Row]:
    """The card in rows."""
    cell, inner = view.cell, width - 2
    title = Text(f"{_MARKS[cell.kind]} {cell.kind:<7}", style=palette.primary)
    title.append(clean(cell.title) or "no title", style=f"bold {palette.text}")
    where = Text("  " + " " * 7 + clean(parse_reference(cell).origin), style=palette.muted)
    rows = [spread(title, _state(view, palette), inner), spread(where, _cost(view, palette), inner)]
    if view.resolved is not None and view.resolved.problem:
        style = palette.error if view.resolved.document is None else palette.warning
        rows += folded(Text(f"! {clean(view.resolved.problem)}", style=style), inner)
    card = [Row(Text(" ").append_text(row), palette.surface) for row in rows]
    return card + [Row(Text(), palette.surface) for _ in range(view.edit_rows)]


def _state(view: View, palette: Palette) -> Text:
    if view.resolved is None:
        return Text("")
    words = {
        "same": ("✓ as pinned", palette.success),
        "drifted": ("≠ drifted", palette.warning),
        "unpinned": ("not pinned", palette.muted),
        "missing": ("✗ missing", palette.error),
    }
    word, style = words[view.resolved.drift]
    return Text(word, style=style)


def _cost(view: View, palette: Palette) -> Text:
    return Text(view.tokens, style=palette.muted)
