"""A merge conflict: both sides, and the keys that settle it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from journal.tui.blocks.row import Row, clean, folded, spread

if TYPE_CHECKING:
    from journal.tui.blocks.view import View
    from journal.tui.theme import Palette


def conflict_rows(view: View, width: int, palette: Palette) -> list[Row]:
    """Both sides in rows."""
    sides = view.sides
    assert sides is not None
    keys = Text("1 ours   2 theirs   3 both", style=palette.accent)
    rows = [Row(spread(Text("merge conflict", style=f"bold {palette.error}"), keys, width))]
    for name, text, fill in (("ours", sides.ours, palette.ours), ("theirs", sides.theirs, palette.theirs)):
        rows.append(Row(Text(f" {name}", style=f"bold {palette.muted}"), fill))
        for line in text.strip("\n").split("\n"):
            shown = Text(f"   {clean(line)}", style=palette.text)
            rows += [Row(piece, fill) for piece in folded(shown, width)]
    return rows
