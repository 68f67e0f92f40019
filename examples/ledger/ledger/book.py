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
        self.taken_back: set[str] = set()

    def enter(self, *, amount_cents: int, memo: str, on: date) -> Entry:
        """Append an entry and return it. Negative amounts are money that leaves."""
        if not memo.strip():
            raise ValueError("an entry needs a memo")
        return self._append(amount_cents, memo, on)

    def contra(self, ref: str, *, memo: str, on: date) -> Entry:
        """Take the entry called `ref` back, once, and return the entry that does so.

        >>> book.contra(sale.ref, memo="typing error", on=today)
        """
        if ref in self.taken_back:
            raise ValueError(f"{ref} was taken back already")
        self.taken_back.add(ref)
        return self._append(-self.find(ref).cents, memo, on)

    def find(self, ref: str) -> Entry:
        """The entry called `ref`; KeyError when there is none."""
        for entry in self.entries:
            if entry.ref == ref:
                return entry
        raise KeyError(ref)

    def balance_cents(self, *, until: date | None = None) -> int:
        """The sum of all entries, or of those up to and including `until`."""
        return sum(e.cents for e in self.entries if until is None or e.on <= until)

    def _append(self, cents: int, memo: str, on: date) -> Entry:
        entry = Entry(f"E{len(self.entries) + 1:04d}", cents, memo, on)
        self.entries.append(entry)
        return entry
