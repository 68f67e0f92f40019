"""Pins: one cell's output as a file beside the journal, for people who read it without running it.

Journal format, section 6: `NAME.journal.out/<id>.txt`, plain text, secrets redacted, head and tail kept.
"""

from __future__ import annotations

from pathlib import Path

from journal.document import Cell
from journal.run.escapes import strip
from journal.run.redact import redact
from journal.run.result import Result

HEAD_LINES = 200
TAIL_LINES = 200
LINE_CHARS = 2000


def pin_path(journal: Path, cell: Cell) -> Path:
    """Where the pin of a cell with an id lies."""
    name = journal.name.removesuffix(".md").removesuffix(".journal")
    return journal.with_name(f"{name}.journal.out") / f"{cell.id}.txt"


def pin(journal: Path, cell: Cell, result: Result) -> Path:
    """Write the pin; returns where."""
    path = pin_path(journal, cell)
    path.parent.mkdir(exist_ok=True)
    path.write_text(shorten(redact(strip(result.output))), encoding="utf-8")
    return path


def shorten(text: str) -> str:
    """The first and last lines of `text`, long lines cut, with a line that says what is left out."""
    lines = [line if len(line) <= LINE_CHARS else f"{line[:LINE_CHARS]} ..." for line in text.splitlines()]
    if len(lines) > HEAD_LINES + TAIL_LINES:
        gap = f"[... {len(lines) - HEAD_LINES - TAIL_LINES:,} lines left out ...]"
        lines = [*lines[:HEAD_LINES], gap, *lines[-TAIL_LINES:]]
    return "".join(f"{line}\n" for line in lines)
