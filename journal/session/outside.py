"""What other programs did to the open file, and what can be done about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from journal.document import Journal
from journal.files import Stamp
from journal.merge import merge

Found = Literal["changed", "merged", "contradicts", "removed"]


@dataclass(frozen=True)
class Outside:
    """The file is not what was read.

    `found`: "changed" (nothing unsaved here: take theirs), "merged" (both sides changed different things),
    "contradicts" (both changed the same; `journal` then has conflict cells), "removed". `journal` is what
    taking it gives, `theirs` what is on disk, `base` what was read before.
    """

    found: Found
    journal: Journal
    ours: Journal
    base: Stamp
    theirs: Stamp | None = None


def compare(ours: Journal, base: Stamp, theirs: Stamp | None) -> Outside | None:
    """How the file on disk (None: it is gone) differs from what was read; None when it does not."""
    if theirs is None:
        return Outside("removed", ours, ours, base)
    if theirs.digest == base.digest:
        return None
    if ours.data in (base.data, theirs.data):
        return Outside("changed", Journal.parse(theirs.data), ours, base, theirs)
    merged = merge(Journal.parse(base.data), ours, Journal.parse(theirs.data))
    found: Found = "contradicts" if _conflicts(merged) > _conflicts(ours) else "merged"
    return Outside(found, merged, ours, base, theirs)


def _conflicts(journal: Journal) -> int:
    return sum(cell.kind == "conflict" for cell in journal.cells)
