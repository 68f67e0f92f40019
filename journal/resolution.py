"""Settling a conflict cell: ours, theirs, or both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from journal import conflicts
from journal.cells import Cell
from journal.errors import NoConflict
from journal.lines import decoded, newline_of

if TYPE_CHECKING:
    from journal.document import Journal


@dataclass(frozen=True, slots=True)
class Sides:
    """What the cell's lines are in each version; `base` is None where the merge did not write it."""

    ours: str
    theirs: str
    base: str | None


def sides(journal: Journal, cell: Cell) -> Sides:
    """See `Journal.sides`."""
    cell = _conflict(journal, cell)
    found, _ = conflicts.regions(cell.raw)
    base = any(region.base for region in found)
    return Sides(
        decoded(_side(cell, found, "ours")),
        decoded(_side(cell, found, "theirs")),
        decoded(_side(cell, found, "base")) if base else None,
    )


def resolve(journal: Journal, cell: Cell, side: Literal["ours", "theirs", "both"]) -> Journal:
    """See `Journal.resolve`."""
    cell = _conflict(journal, cell)
    found, _ = conflicts.regions(cell.raw)
    ours, theirs = _side(cell, found, "ours"), _side(cell, found, "theirs")
    if side == "both":
        start = cell.body[0]
        behind = theirs[start:]
        gap = b"" if not behind or ours.endswith((b"\r", b"\n")) else newline_of(cell.raw)
        chosen = ours + gap + behind
    else:
        chosen = ours if side == "ours" else theirs
    end = cell.start + len(cell.raw)
    return type(journal).parse(journal.data[: cell.start] + chosen + journal.data[end:])


def _conflict(journal: Journal, cell: Cell) -> Cell:
    cell = journal.locate(cell)
    if cell.kind != "conflict":
        hint = "only a conflict cell can be resolved"
        raise NoConflict(f"the {cell.kind} cell of line {cell.line} has no conflict", hint=hint, subject=cell)
    return cell


def _side(cell: Cell, found: list[conflicts.Region], side: conflicts.Side) -> bytes:
    return conflicts.view(cell.raw, found, side).data
