import unittest
from datetime import date

from ledger import Book
from ledger.refunds import refund, refunded_cents


class TestRefund(unittest.TestCase):
    def test_a_refund_takes_the_sale_back(self) -> None:
        book = Book()
        sale = book.enter(amount_cents=1250, memo="two mugs", on=date(2026, 3, 2))
        entry = refund(book, sale, "one was cracked", date(2026, 3, 9))
        self.assertEqual(entry.cents, -1250)
        self.assertEqual(entry.memo, "one was cracked")
        self.assertEqual(entry.on, date(2026, 3, 9))
        self.assertEqual(book.balance_cents(), 0)
        self.assertEqual(refunded_cents(book), 1250)

    def test_a_sale_is_refunded_once(self) -> None:
        book = Book()
        sale = book.enter(amount_cents=1250, memo="two mugs", on=date(2026, 3, 2))
        refund(book, sale, "one was cracked", date(2026, 3, 9))
        with self.assertRaises(ValueError):
            refund(book, sale, "once more", date(2026, 3, 9))
