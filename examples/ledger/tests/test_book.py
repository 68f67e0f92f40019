import unittest
from datetime import date

from ledger import Book


class TestBook(unittest.TestCase):
    def test_entries_add_up(self) -> None:
        book = Book()
        book.enter(amount_cents=1250, memo="two mugs", on=date(2026, 3, 2))
        book.enter(amount_cents=-200, memo="stamps", on=date(2026, 3, 3))
        self.assertEqual(book.balance_cents(), 1050)
        self.assertEqual(book.balance_cents(until=date(2026, 3, 2)), 1250)

    def test_an_entry_without_a_memo_is_refused(self) -> None:
        with self.assertRaises(ValueError):
            Book().enter(amount_cents=100, memo=" ", on=date(2026, 3, 2))

    def test_find(self) -> None:
        book = Book()
        entry = book.enter(amount_cents=100, memo="card", on=date(2026, 3, 2))
        self.assertIs(book.find(entry.ref), entry)
        with self.assertRaises(KeyError):
            book.find("E9999")

    def test_contra_takes_an_entry_back(self) -> None:
        book = Book()
        entry = book.enter(amount_cents=100, memo="card", on=date(2026, 3, 2))
        self.assertEqual(book.contra(entry.ref, memo="typing error", on=date(2026, 3, 3)).cents, -100)
        self.assertEqual(book.balance_cents(), 0)
