"""Suggestions that read names which nothing binds are not shown, where that is certain enough."""

from __future__ import annotations

import pytest

from engine.documents import Document
from engine.request import Request
from engine.suggest import Finished, judge
from engine.suggest.filters import unbound

LONG = '"""' + "A module of some length.\n" * 200 + '"""\n\n'
BEFORE = LONG + "import os\n\nLIMIT = 3\n\n\ndef pay(cents, memo):\n    book = open(memo)\n    "
AFTER = "\n    return book\n\n\ndef other():\n    return later()\n"


def request(
    prefix: str = BEFORE, suffix: str = AFTER, path: str = "shop/pay.py", **others: object
) -> Request:
    return Request(prefix, suffix, path=path, **others)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    [
        "book.enter(cents, memo, limit=LIMIT)",
        "amount = cents\n    print(amount, os.sep)",
        "total = sum(entry.cents for entry in book)",
        "book = json.loads(memo)",
        "other(pay)",
        "later(cents)",
        "with open(memo) as file:\n        file.read()",
        "raise ValueError",
    ],
)
def test_names_in_scope_builtins_modules_and_what_the_file_reads_elsewhere_pass(text: str) -> None:
    assert unbound.drop(text, request()) == text


@pytest.mark.parametrize(
    "text",
    [
        "book.enter(amount, memo)",
        "return self.book",
        "book.enter(cents)\n    entry.close()",
        "entry = [one.cents for one in entries]",
    ],
)
def test_a_name_that_nothing_binds_hides_the_suggestion_and_says_so(text: str) -> None:
    assert judge(text, request()) == Finished("", ("unbound",))


def test_a_name_is_read_together_with_what_is_typed_of_it() -> None:
    assert unbound.drop("ok.close()", request(BEFORE + "bo")) == "ok.close()"
    assert unbound.drop("xes.close()", request(BEFORE + "bo")) is None


def test_a_last_name_that_may_be_cut_off_passes() -> None:
    assert unbound.drop("book.enter(cen", request()) == "book.enter(cen"
    assert unbound.drop("book.enter(xyz", request()) is None


def test_a_name_of_a_document_passes_for_its_import_may_come_later() -> None:
    page = Document("docs/till.md", "`Till(cents)` opens a till.\n", kind="api")
    assert unbound.drop("Till(cents)", request()) is None
    assert unbound.drop("Till(cents)", request(documents=(page,))) == "Till(cents)"


@pytest.mark.parametrize(
    "asked",
    [
        request(path="session.ipy", language="python"),
        request(path="notes.ipynb", language="python"),
        request(path="", language="python"),
        request(path="pay.js"),
        request("def pay(cents):\n    ", "\n"),
        request("from shop import *\n" + BEFORE),
        request("exec(open('names.py').read())\n" + BEFORE),
        request("x = 1\n" * 80_000 + BEFORE),
    ],
)
def test_where_names_may_come_from_elsewhere_nothing_is_hidden(asked: Request) -> None:
    assert unbound.drop("amount.enter()", asked) == "amount.enter()"


def test_code_that_does_not_parse_hides_nothing() -> None:
    broken = BEFORE + "return ((\n    def (:\n    "
    assert unbound.drop("amount.enter()", request(broken)) == "amount.enter()"
