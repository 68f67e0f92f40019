"""The deterministic engine: context decides what it says, and it obeys the whole seam."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from engine.documents import Document
from engine.errors import ContextTooLong, EngineStopped, ModelUnknown
from engine.open import open_engine
from engine.request import Cancel, Request
from engine.runtime.base import Engine
from engine.runtime.fake import FakeEngine

LEDGER = Document("ledger.py", "book.enter(amount_cents=cents, memo=reason)\n", kind="api")
OLD = Document("old.py", "book.post(cents)\n")
HOLE = Request(prefix="def refund(book, cents, reason):\n    book.", suffix="\n", documents=(LEDGER,))


def test_it_completes_from_the_documents_and_says_nothing_without_them() -> None:
    engine: Engine = open_engine("fake")
    suggestion = engine.suggest(HOLE)
    assert suggestion.text == "enter(amount_cents=cents, memo=reason)"
    assert suggestion.stop == "statement"
    assert engine.suggest(replace(HOLE, documents=())).text == ""


def test_the_most_relevant_document_wins() -> None:
    engine = FakeEngine()
    assert engine.suggest(replace(HOLE, documents=(LEDGER, OLD))).text == "post(cents)"
    assert engine.suggest(replace(HOLE, documents=(OLD, LEDGER))).text.startswith("enter(")


def test_a_half_typed_word_is_finished() -> None:
    engine = FakeEngine()
    assert engine.suggest(replace(HOLE, prefix=HOLE.prefix + "ent")).text.startswith("er(amount_cents")
    assert engine.suggest(replace(HOLE, prefix=HOLE.prefix + "zzz")).text == ""


def test_the_same_request_gives_the_same_suggestion_and_reuses_its_documents() -> None:
    engine = FakeEngine()
    first, second = engine.suggest(HOLE), engine.suggest(HOLE)
    assert first.text == second.text
    assert (first.documents[0].origin, second.documents[0].origin) == ("computed", "reused")
    assert (first.tokens_reused, second.tokens_computed) == (0, 0)
    changed = engine.suggest(replace(HOLE, prefix=HOLE.prefix.replace("refund", "repay")))
    assert changed.documents[0].origin == "reused"
    assert 0 < changed.tokens_computed < changed.tokens_reused


def test_the_plan_is_what_suggest_places() -> None:
    engine = FakeEngine()
    plan = engine.plan(HOLE)
    suggestion = engine.suggest(HOLE)
    assert [use.tokens for use in plan.documents] == [use.tokens for use in suggestion.documents]
    assert plan.prompt_tokens == suggestion.tokens_computed
    assert "amount_cents" in plan.text


def test_documents_that_do_not_fit_are_cut_visibly() -> None:
    long = Document("long.md", "word " * 500)
    plan = FakeEngine(context_tokens=200).plan(replace(HOLE, documents=(OLD, long, LEDGER)))
    assert [use.origin for use in plan.documents] == ["skipped", "computed", "computed"]
    assert plan.documents[1].cut_tokens > 0
    assert plan.prompt_tokens <= plan.budget_tokens


def test_a_line_that_does_not_fit_is_an_error() -> None:
    with pytest.raises(ContextTooLong):
        FakeEngine(context_tokens=100).suggest(Request("x" + " y" * 100, "", max_tokens=10))


@pytest.mark.parametrize("limit", [1, 2, 5])
def test_max_tokens_ends_it(limit: int) -> None:
    suggestion = FakeEngine().suggest(replace(HOLE, max_tokens=limit))
    assert (suggestion.stop, suggestion.tokens_generated) == ("length", limit)


def test_the_budget_ends_it() -> None:
    suggestion = FakeEngine(token_delay_ms=20).suggest(replace(HOLE, budget_ms=30))
    assert suggestion.stop == "time"
    assert 0 < suggestion.tokens_generated < 5


def test_stop_at_block_goes_on_over_lines() -> None:
    loop = Document("loop.py", "for entry in book:\n    check(entry)\n    post(entry)\ndone()\n")
    request = Request(prefix="for entry in book:\n", suffix="", documents=(loop,), stop_at="block")
    assert FakeEngine().suggest(request).text == "    check(entry)\n    post(entry)"


@pytest.mark.parametrize("delays", [{"token_delay_ms": 10_000}, {"prompt_delay_ms": 10_000}])
def test_a_cancel_ends_it_in_the_middle_of_a_token(delays: dict[str, float]) -> None:
    cancel = Cancel()
    threading.Timer(0.02, cancel.set).start()
    assert FakeEngine(**delays).suggest(HOLE, cancel=cancel).stop == "cancelled"


def test_a_cancel_in_the_prompt_keeps_what_was_computed() -> None:
    engine, cancel = FakeEngine(prompt_delay_ms=1), Cancel()
    threading.Timer(0.02, cancel.set).start()
    cut = engine.suggest(replace(HOLE, documents=(Document("big.py", "x " * 500),)), cancel=cancel)
    assert 0 < cut.tokens_computed < 1000
    again = engine.suggest(
        replace(HOLE, documents=(Document("big.py", "x " * 500),), max_tokens=1), cancel=Cancel()
    )
    assert again.tokens_reused == cut.tokens_computed


def test_closed_is_closed() -> None:
    engine = FakeEngine()
    engine.close()
    engine.close()
    with pytest.raises(EngineStopped):
        engine.suggest(HOLE)


def test_a_delay_that_is_no_number_is_one_clear_line() -> None:
    assert open_engine("fake:5").info.backend == "fake"
    with pytest.raises(ModelUnknown, match="fake:MILLISECONDS"):
        open_engine("fake:soon")


def test_a_suggestion_that_the_filters_drop_ended_empty() -> None:
    """As the other engines say it: `statement` would promise a text."""
    rows = "total = add(one)\ntotal = add(one)\ntotal = "
    suggestion = FakeEngine().suggest(Request(prefix=rows, suffix="\n", path="a.py"))
    assert (suggestion.text, suggestion.stop) == ("", "empty")
