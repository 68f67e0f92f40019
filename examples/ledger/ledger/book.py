"""The book: an append-only list of entries, each with a reference of its own."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True)
class Entry:
    """One line of the book. `cents` is negative when money leaves."""

    ref: str
    cents: int
    memo: str
    on: date


class Book:
    """An append-only cash book."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def enter(self, *, amount_cents: int, memo: str, on: date) -> Entry:
        """Append an entry and return it; an entry of zero cents is refused."""
        if amount_cents == 0:
            raise ValueError("an entry of zero cents says nothing")
        entry = Entry(f"E{len(self.entries) + 1:04d}", amount_cents, memo, on)
        self.entries.append(entry)
        return entry

    def find(self, ref: str) -> Entry:
        """The entry called `ref`; KeyError when there is none."""
        for entry in self.entries:
            if entry.ref == ref:
                return entry
        raise KeyError(ref)

    def balance_cents(self, *, until: date | None = None) -> int:
        """The sum of all entries, or of those up to and including `until`."""
        return sum(e.cents for e in self.entries if until is None or e.on <= until)
