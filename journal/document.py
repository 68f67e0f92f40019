"""A journal: a Markdown file as cells, byte for byte.

`Journal.parse` takes any bytes; `b"".join(cell.raw for cell in journal.cells)` is those bytes again. An edit
returns a new journal in which only the edited cell's span differs.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from journal import cells as cell_parts
from journal import edits, front, moves, resolution
from journal.cells import REFERENCE_KINDS, STATES, Cell, Problem
from journal.errors import CellUnknown, StepUnknown
from journal.resolution import Sides

__all__ = ["FORMAT_VERSION", "REFERENCE_KINDS", "STATES", "Cell", "Journal", "Problem", "Sides"]

FORMAT_VERSION = 1
_TOP_HEADING = re.compile(r"^ {0,3}#[ \t]++([^\n]*)", re.M)


@dataclass(frozen=True)
class Journal:
    """The cells of one file. `notices`: what the edit that made this journal did beyond what was asked."""

    data: bytes
    cells: tuple[Cell, ...]
    notices: tuple[str, ...] = ()
    _cell_problems: tuple[Problem, ...] = ()

    @classmethod
    def parse(cls, data: bytes, *, notices: tuple[str, ...] = ()) -> Journal:
        """The journal that `data` is. Any bytes are one; what is odd about them is in `problems`."""
        cells, problems = cell_parts.split(data)
        return cls(data, cells, notices, tuple(problems))

    @classmethod
    def new(cls, title: str) -> Journal:
        """A journal with this title and nothing else."""
        return cls.parse(b"---\n" + front.new({"journal": FORMAT_VERSION, "title": title}) + b"---\n")

    @cached_property
    def _front(self) -> tuple[dict[str, Any], tuple[Problem, ...]]:
        if not self.cells or self.cells[0].kind != "front":
            return {}, ()
        cell = self.cells[0]
        try:
            values = front.read(cell.raw[slice(*cell.body)])
        except ValueError as error:
            return {}, (Problem(cell.line, str(error)),)
        version = values.get("journal", FORMAT_VERSION)
        if isinstance(version, int) and version <= FORMAT_VERSION:
            return values, ()
        return values, (Problem(cell.line, f"journal version {version!r} is newer than {FORMAT_VERSION}"),)

    @property
    def front(self) -> dict[str, Any]:
        """The front matter; empty when there is none or it cannot be read (then `problems` says why)."""
        return self._front[0]

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What a person may want to mend, by line; nothing here keeps the journal from being read."""
        return (*self._front[1], *self._cell_problems)

    @cached_property
    def title(self) -> str:
        """The front matter's title, or else the first top heading; "" without either."""
        title = self.front.get("title")
        if isinstance(title, (str, int, float)) and str(title).strip():
            return str(title).strip()
        notes = (_TOP_HEADING.search(cell.text) for cell in self.cells if cell.kind == "note")
        titles = (cell_parts.without_closing_hashes(match[1].encode()).decode() for match in notes if match)
        return next(titles, "")

    @cached_property
    def steps(self) -> tuple[Cell, ...]:
        """The step cells in order."""
        return tuple(cell for cell in self.cells if cell.kind == "step")

    @cached_property
    def _by_id(self) -> dict[str, Cell]:
        return {cell.id: cell for cell in reversed(self.cells) if cell.id}

    @cached_property
    def _by_name(self) -> dict[str, Cell]:
        return {cell.name: cell for cell in reversed(self.cells) if cell.name}

    def cell(self, ref: str) -> Cell:
        """The cell with this id, else this name, else at this position ("#3", from 1). Raises CellUnknown."""
        found = self._by_id.get(ref) or self._by_name.get(ref)
        if found is None and re.fullmatch(r"#[0-9]{1,9}", ref) and 0 < int(ref[1:]) <= len(self.cells):
            found = self.cells[int(ref[1:]) - 1]
        if found is None:
            names = [cell.name or cell.id for cell in self.cells if cell.name or cell.id]
            hint = f"there are {_some(names)}" if names else 'cells are also found by position, as "#3"'
            raise CellUnknown(f"no cell {ref!r} in this journal", hint=hint, subject=ref)
        return found

    def step(self, ref: str) -> Cell:
        """The step with this id, title (then without regard to case) or number from 1. Raises StepUnknown."""
        for test in (
            lambda step: step.id == ref,
            lambda step: step.title == ref,
            lambda step: bool(ref) and step.title.casefold() == ref.casefold(),
        ):
            if found := next(filter(test, self.steps), None):
                return found
        if re.fullmatch("[0-9]{1,9}", ref) and 0 < int(ref) <= len(self.steps):
            return self.steps[int(ref) - 1]
        names = [step.id or step.title for step in self.steps]
        hint = f"there are {_some(names)}" if names else "the journal has no steps yet"
        raise StepUnknown(f"no step {ref!r} in this journal", hint=hint, subject=ref)

    @cached_property
    def _step_indices(self) -> list[int]:
        return [step.index for step in self.steps]

    def step_of(self, cell: Cell) -> Cell | None:
        """The step that `cell` belongs to (a step belongs to itself); None before the first step."""
        place = bisect_right(self._step_indices, self.locate(cell).index)
        return self.steps[place - 1] if place else None

    def cells_of(self, step: Cell) -> tuple[Cell, ...]:
        """The cells between `step` and the next step or the end, `step` itself not among them."""
        start = self.locate(step).index
        place = bisect_right(self._step_indices, start)
        end = self._step_indices[place] if place < len(self._step_indices) else len(self.cells)
        return self.cells[start + 1 : end]

    def replace_text(self, cell: Cell, text: str) -> Journal:
        """The journal with `cell`'s text replaced: a fence grows when the text holds one, a blank note goes.

        Lines that stay keep their bytes; new ones get the cell's newline. For a step the text is its title,
        for a reference its link line; a conflict is replaced as a whole. Raises TextWouldSplit when another
        cell would change, CellUnknown when `cell` is no longer here.
        """
        return edits.replace_text(self, cell, text)

    def set_meta(self, cell: Cell, **changes: Any) -> Journal:
        """The journal with members of `cell`'s metadata set, or removed where the value is None.

        Other members keep their bytes and order. A plain note gets a marker; of the front matter, YAML keys
        are set. Raises MetadataUnreadable, IdTaken, TextWouldSplit, CellUnknown.
        """
        return edits.set_meta(self, cell, changes)

    def ensure_id(self, cell: Cell) -> tuple[Journal, Cell]:
        """The journal in which `cell` has an id to refer to it by (written only if missing), and the cell."""
        return edits.ensure_id(self, cell)

    def insert(
        self,
        after: Cell | None,
        kind: str,
        *,
        text: str = "",
        meta: Mapping[str, Any] | None = None,
        title: str = "",
    ) -> tuple[Journal, Cell]:
        """The journal with a new cell behind `after` (None: at the start), and that cell.

        `kind` as in `Cell`; a cell other than a plain note or an output gets an id. A reference without
        `text` gets a link made from its `src` and `title`. Raises KindUnknown, IdTaken, TextWouldSplit,
        CellUnknown.
        """
        return edits.insert(self, after, kind, text=text, meta=meta or {}, title=title)

    def remove(self, cell: Cell) -> Journal:
        """The journal without `cell`; plain notes on both sides of it become one."""
        return edits.remove(self, cell)

    def move(self, cell: Cell, after: Cell | None) -> tuple[Journal, Cell]:
        """The journal with `cell` behind `after` (None: at the start), and the cell at its new place.

        Of a step that is the marker and the heading only; `move_step` takes its cells along. Raises
        TextWouldSplit when another cell would change, CellUnknown.
        """
        return moves.move(self, cell, after)

    def move_step(self, step: Cell, after_step: Cell | None) -> tuple[Journal, Cell]:
        """The journal with `step` and its cells behind the cells of `after_step` (None: as the first step).

        Returns the step at its new place, too; what stands before the first step stays there. Raises
        StepUnknown when one of them is no step, TextWouldSplit when another cell would change (something at
        the step's end is not closed, say), CellUnknown.
        """
        return moves.move_step(self, step, after_step)

    def sides(self, conflict: Cell) -> Sides:
        """What a conflict cell is on each side."""
        return resolution.sides(self, conflict)

    def resolve(self, conflict: Cell, side: Literal["ours", "theirs", "both"]) -> Journal:
        """The journal with a conflict cell replaced by one side, or by ours followed by theirs."""
        return resolution.resolve(self, conflict, side)

    def locate(self, cell: Cell) -> Cell:
        """The cell of this journal that `cell`, perhaps of an earlier version, is. Raises CellUnknown."""
        if cell.index < len(self.cells):
            here = self.cells[cell.index]
            if here is cell or (here.kind, here.key) == (cell.kind, cell.key):
                return here
        for here in self.cells:
            if (here.kind, here.key) == (cell.kind, cell.key):
                return here
        hint = "it was changed or removed meanwhile; look at the journal again"
        raise CellUnknown(f"the {cell.kind} cell of line {cell.line} is gone", hint=hint, subject=cell)


def _some(names: list[str], most: int = 8) -> str:
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown
