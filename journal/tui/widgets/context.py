"""What a model would read at the current step, and how much of its room that takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from journal.tui.blocks.row import Row, clean, spread, wrapped
from journal.tui.widgets.rows import Rows

if TYPE_CHECKING:
    from journal.context import Entry
    from journal.session.meter import Reading

_DRIFTS = {"same": "✓", "drifted": "≠ drifted", "unpinned": "", "missing": "✗ missing", "": ""}


class Context(Rows, can_focus=True):
    """The panel. The most relevant document is the last: nearest the cursor in a prompt."""

    mark_columns = 2

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self.reading: Reading | None = None
        self.step = ""
        self.budget = 0

    def show(self, reading: Reading | None, *, step: str) -> None:
        """Show what was counted; None while it is being counted."""
        self.reading, self.step = reading, step
        self.rebuild()

    def build(self, width: int) -> list[Row]:
        """The meter, then a line or two a document, then what is wrong."""
        width -= 1
        muted = self.palette.muted
        rows = [Row(Text("Context", style=f"bold {muted}")), Row(Text())]
        if self.reading is None:
            return [*rows, Row(Text("reading…", style=muted))]
        rows += self._meter(self.reading, width)
        for entry, tokens, cut in self.reading.rows:
            rows += self._document(entry, tokens, cut, width)
        if not self.reading.taken.entries:
            hint = "This step holds nothing to read yet. Add a ticket, a doc, a source or a note."
            rows += [Row(line) for line in wrapped(Text(hint, style=muted), width)]
        rows += self._problems(self.reading, width)
        return rows

    def _meter(self, reading: Reading, width: int) -> list[Row]:
        used, budget = reading.used_tokens, max(1, reading.count.budget_tokens)
        share = min(1.0, used / budget)
        about = "about " if reading.count.estimated else ""
        right = Text(f"{share:.0%}", style=self.palette.muted)
        rows = [
            Row(spread(Text(f"{about}{used:,} of {budget:,} tokens", style=self.palette.text), right, width))
        ]
        full = max(1, round(width * share)) if used else 0
        colour = self.palette.warning if any(reading.count.cut_tokens) else self.palette.primary
        bar = Text("━" * full, style=colour).append("━" * (width - full), style=self.palette.panel)
        return [*rows, Row(bar), Row(Text())]

    def _document(self, entry: Entry, tokens: int, cut: int, width: int) -> list[Row]:
        document = entry.document
        drift = _DRIFTS.get(str(entry.drift), str(entry.drift))
        name = Text(clean(document.name), style=self.palette.text)
        if name.cell_len > width - 8:
            name = Text("…" + name.plain[-(width - 9) :], style=self.palette.text)
        kind = Text().append(f"  {document.kind}", style=self.palette.muted)
        if drift:
            style = self.palette.success if drift == "✓" else self.palette.warning
            kind.append(f"  {drift}", style=style)
        if cut:
            kind.append(f"  cut by {cut:,}", style=self.palette.warning)
        return [Row(spread(name, Text(f"{tokens:,}", style=self.palette.muted), width)), Row(kind)]

    def _problems(self, reading: Reading, width: int) -> list[Row]:
        rows = []
        for problem in reading.taken.problems:
            rows += [Row(Text())] + [
                Row(line) for line in wrapped(Text(f"! {clean(problem)}", style=self.palette.warning), width)
            ]
        if reading.count.problem:
            said = Text(clean(reading.count.problem), style=self.palette.muted)
            rows += [Row(Text()), *(Row(line) for line in wrapped(said, width))]
        return rows
