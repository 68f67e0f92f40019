"""The default model through the engine: the document decides the suggestion, and reuse stays exact."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.documents import Document
from engine.request import Cancel, Request
from engine.runtime.local import LocalEngine

pytestmark = pytest.mark.model

LEDGER = Document(
    "ledger.py",
    "class Book:\n    def enter(self, *, amount_cents: int, memo: str) -> None:\n"
    '        """Write one entry: book.enter(amount_cents=500, memo="rent")."""\n',
    kind="api",
)
HOLE = Request(
    prefix="from ledger import Book\n\n\ndef refund(book: Book, cents: int, reason: str) -> None:\n    book.",
    suffix="\n\n\ndef main() -> None:\n    refund(Book(), 5, 'x')\n",
    path="refund.py",
    documents=(LEDGER,),
    max_tokens=24,
)


@pytest.fixture(scope="module")
def engine(default_model: Path) -> Iterator[LocalEngine]:
    engine = LocalEngine(default_model, n_ctx=1024)
    yield engine
    engine.close()


def test_the_document_decides_the_suggestion(engine: LocalEngine) -> None:
    informed, blind = engine.suggest(HOLE), engine.suggest(replace(HOLE, documents=()))
    assert engine.info.family == "qwen"
    assert informed.text.startswith("enter(amount_cents=")
    assert "amount_cents" not in blind.text


def test_a_keystroke_reuses_the_documents_and_gives_the_bits_of_a_fresh_context(engine: LocalEngine) -> None:
    engine.suggest(HOLE)
    typed = replace(HOLE, prefix=HOLE.prefix + "en")
    ours = engine.suggest(typed)
    assert ours.documents[0].origin == "reused"
    assert ours.tokens_computed < ours.tokens_reused
    logits = engine._opened()[1]._logits
    assert logits is not None
    assert engine._context is not None
    engine._context.close()
    engine._context = None
    theirs = engine.suggest(typed)
    assert (theirs.text, theirs.tokens_reused) == (ours.text, 0)
    fresh = engine._opened()[1]._logits
    assert fresh is not None
    assert np.array_equal(logits, fresh)


def test_a_cancel_in_the_middle_of_a_token_changes_nothing_later(engine: LocalEngine) -> None:
    expected = engine.suggest(HOLE)
    for after in (1, 3):
        cancel, texts = Cancel(), [""]

        def on_text(text: str, cancel: Cancel = cancel, texts: list[str] = texts, after: int = after) -> None:
            texts.append(text)
            if len(texts) > after:
                cancel.set()

        cut = engine.suggest(HOLE, on_text=on_text, cancel=cancel)
        assert cut.stop == "cancelled"
        assert expected.text.startswith(cut.text)
        assert engine.suggest(HOLE).text == expected.text
