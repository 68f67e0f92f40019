"""Month-end reports."""

from calendar import monthrange
from datetime import date

from ledger.book import Book, Entry


def month_entries(book: Book, year: int, month: int) -> list[Entry]:
    """The entries of one month, first day to last day."""
    first = date(year, month, 1)
    last = date(year, month, monthrange(year, month)[1])
    return [entry for entry in book.entries if first <= entry.on < last]


def month_report(book: Book, year: int, month: int) -> str:
    """One line an entry, then the total."""
    entries = month_entries(book, year, month)
    lines = [f"{e.on.isoformat()}  {e.ref}  {e.cents / 100:>10.2f}  {e.memo}" for e in entries]
    total = sum(e.cents for e in entries)
    return "\n".join([*lines, f"total {total / 100:.2f}"])
