"""Cells as rows of text: pure functions of a `View`, a width and a palette."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from journal.document import REFERENCE_KINDS, Cell
from journal.tui.blocks.row import Row, clean, folded

if TYPE_CHECKING:
    from journal.tui.blocks.view import View
    from journal.tui.theme import Palette

__all__ = ["Row", "cell_rows", "estimated_rows"]


def cell_rows(view: View, width: int, palette: Palette) -> list[Row]:
    """The rows of a cell, at least one; what is wrong with it stands under it."""
    rows = _rows(view, width, palette) or [Row(Text())]
    for problem in view.problems:
        said = Text(f"! line {problem.line}: {clean(problem.message)}", style=palette.warning)
        rows += [Row(piece) for piece in folded(said, width)]
    return rows


def _rows(view: View, width: int, palette: Palette) -> list[Row]:
    kind = view.cell.kind
    if view.cell.is_code:
        from journal.tui.blocks.code import code_rows

        return code_rows(view, width, palette)
    if kind == "note":
        if view.edit_rows:
            return [Row(Text("note", style=palette.muted)), *(Row(Text()) for _ in range(view.edit_rows))]
        from journal.tui.blocks.markdown import note_rows

        return note_rows(view.cell.text, width, palette)
    if kind in REFERENCE_KINDS:
        from journal.tui.blocks.reference import reference_rows

        return reference_rows(view, width, palette)
    if kind == "conflict" and not view.edit_rows:
        from journal.tui.blocks.conflict import conflict_rows

        return conflict_rows(view, width, palette)
    from journal.tui.blocks import plain

    if kind == "step":
        return plain.step_rows(view, width, palette)
    return plain.front_rows(view, width, palette) if kind == "front" else plain.raw_rows(view, width, palette)


def estimated_rows(cell: Cell, width: int) -> int:
    """About how many rows the cell takes, without drawing it."""
    lines = cell.text.count("\n") + 1
    if cell.is_code:
        return lines + 1
    if cell.kind == "note":
        return lines + len(cell.text) // max(20, width)
    return 2 if cell.kind in REFERENCE_KINDS else 1
