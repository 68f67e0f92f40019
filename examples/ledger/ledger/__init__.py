"""A cash book: entries in cents, balances, month-end reports."""

from ledger.book import Book, Entry

__all__ = ["Book", "Entry"]
