"""Cells, and whole steps, at another place of their journal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from journal import edits
from journal.cells import Cell
from journal.errors import StepUnknown
from journal.lines import newline_of
from journal.scan import BOM, TO_LINE_END

if TYPE_CHECKING:
    from journal.document import Journal


def move(journal: Journal, cell: Cell, after: Cell | None) -> tuple[Journal, Cell]:
    """See `Journal.move`."""
    cell = journal.locate(cell)
    index = edits.index_behind(journal, after)
    if index in (cell.index, cell.index + 1):
        return journal, cell
    edited = _moved(journal, [cell], index)
    return edited, _compare_moved(journal.cells, edited.cells, cell, index)


def move_step(journal: Journal, step: Cell, after: Cell | None) -> tuple[Journal, Cell]:
    """See `Journal.move_step`."""
    moving = _span(journal, step)
    first, end = moving[0].index, moving[-1].index + 1
    index = journal.steps[0].index if after is None else _span(journal, after)[-1].index + 1
    if first <= index <= end:
        return journal, moving[0]
    edited = _moved(journal, moving, index)
    others = [*journal.cells[:first], *journal.cells[end:]]
    place = index if index < first else index - len(moving)
    edits.compare([*others[:place], *moving, *others[place:]], edited.cells)
    return edited, edited.cells[place]


def _span(journal: Journal, step: Cell) -> tuple[Cell, ...]:
    """The step and its cells."""
    step = journal.locate(step)
    if step.kind != "step":
        hint = "a step has a marker with the kind step"
        raise StepUnknown(f"the {step.kind} cell of line {step.line} is no step", hint=hint, subject=step)
    return (step, *journal.cells_of(step))


def _moved(journal: Journal, moving: Sequence[Cell], index: int) -> Journal:
    """The journal with these cells, which follow each other, in front of what is cell `index` now."""
    data, first = journal.data, moving[0]
    start, end = first.start, moving[-1].start + len(moving[-1].raw)
    newline = newline_of(data[start:end], data)
    start = max(start, len(BOM)) if data.startswith(BOM) else start
    content = _whole_lines(data[start:end], newline)
    note, marked = first.kind == "note", first.json is not None
    at, framed = edits.set_apart(journal, index, content, newline, note=note, marked=marked)
    if at >= end:
        return edits.reparsed(journal, data[:start] + data[end:at] + framed + data[at:])
    return edits.reparsed(journal, data[:at] + framed + data[at:start] + data[end:])


def _compare_moved(old: Sequence[Cell], new: Sequence[Cell], cell: Cell, index: int) -> Cell:
    """The moved cell, if all others are as they were; notes around its old place may be one now."""
    others = [*old[: cell.index], *old[cell.index + 1 :]]
    place = index - 1 if index > cell.index else index
    hole = cell.index if index > cell.index else cell.index + 1
    wanted = [*others[:place], cell, *others[place:]]
    edits.compare_joined(wanted, new, hole)
    return new[place - 1 if len(new) < len(wanted) and hole <= place else place]


def _whole_lines(raw: bytes, newline: bytes) -> bytes:
    """`raw` without blank lines around it, ending in a newline."""
    start = len(raw) - len(raw.lstrip(edits.BLANK))
    line_start = max(raw.rfind(b"\n", 0, start), raw.rfind(b"\r", 0, start)) + 1
    line_end = TO_LINE_END.match(raw, len(raw.rstrip(edits.BLANK)))  # the last line keeps its trailing blanks
    return raw[line_start : line_end.end() if line_end else len(raw)] + newline
