import unittest
from datetime import date

from ledger import Book
from ledger.report import month_report


class TestMonthReport(unittest.TestCase):
    def test_the_last_day_belongs_to_the_month(self) -> None:
        book = Book()
        book.enter(amount_cents=1000, memo="mug", on=date(2026, 4, 1))
        book.enter(amount_cents=500, memo="card", on=date(2026, 4, 30))
        book.enter(amount_cents=700, memo="poster", on=date(2026, 5, 1))
        self.assertTrue(month_report(book, 2026, 4).endswith("total 15.00"))
