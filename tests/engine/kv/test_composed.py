"""Documents encoded once, on a real model: what a switch, a keystroke, an edit and a restart compute."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.documents import Document
from engine.kv.gate import Gate, Repair
from engine.request import Cancel, Request, Suggestion
from engine.runtime import extension
from engine.runtime.account import Account
from engine.runtime.composed import ComposedTokens
from engine.runtime.context import Context
from engine.runtime.llama import Model
from engine.runtime.local import LocalEngine
from engine.runtime.reuse import BATCH_TOKENS
from engine.runtime.shadow import divergence
from engine.settings import Settings

pytestmark = [pytest.mark.model, pytest.mark.timeout(900), pytest.mark.usefixtures("isolated_home")]

Open = Callable[..., LocalEngine]


def lines(name: str, count: int) -> str:
    return "".join(f"def {name}_{i}(amount, memo):\n    return {name}({i}, memo)\n\n\n" for i in range(count))


DOCUMENTS = tuple(
    Document(f"{name}.py", lines(name, 3), kind="source", language="python")
    for name in ("book", "ledger", "entry", "rate", "user", "day", "tax", "sum")
)
FILE = lines("refund", 8)
CURSOR = FILE.index("def refund_5") + len("def refund_5(amount, memo):\n    return ")
REQUEST = Request(
    prefix=FILE[:CURSOR],
    suffix="\n\n\n" + FILE[FILE.index("def refund_6") :],
    path="refund.py",
    language="python",
    repository="shop",
    documents=DOCUMENTS[:4],
    max_tokens=4,
)


@pytest.fixture
def open_engine(small_model: Path) -> Iterator[Open]:
    opened: list[LocalEngine] = []

    def open_(repair: Repair | None = None, **options: object) -> LocalEngine:
        settings = Settings(**options)  # type: ignore[arg-type]
        gate = Gate(mode="documents", repair=repair or Repair())
        opened.append(LocalEngine(small_model, n_ctx=1024, threads=1, settings=settings, gate=gate))
        return opened[-1]

    yield open_
    for engine in opened:
        engine.close()


@pytest.fixture
def engine(open_engine: Open) -> LocalEngine:
    return open_engine()


def prepare(engine: LocalEngine, request: Request) -> None:
    while engine.prepare(request, cancel=Cancel()):
        pass


def origins(suggestion: Suggestion) -> list[str]:
    return [use.origin for use in suggestion.documents]


def logits(engine: LocalEngine, request: Request) -> np.ndarray:
    prompt = engine._assemble(request)
    reuse = engine._opened()[1]
    return reuse.run(prompt, Account(), patience_ms=None).copy()


def test_a_step_change_over_known_documents_computes_none_of_them(engine: LocalEngine) -> None:
    other = replace(REQUEST, documents=DOCUMENTS[4:])
    first = engine.suggest(REQUEST)
    assert origins(first) == ["computed"] * 4
    assert first.tokens_computed > sum(use.tokens for use in first.documents)
    prepare(engine, REQUEST)
    engine.suggest(other)
    again = engine.suggest(REQUEST)
    assert origins(again) == ["loaded"] * 4
    near = engine._builder.gate.repair.near_tokens
    assert again.tokens_computed <= near + 24
    assert again.tokens_loaded >= sum(use.tokens for use in again.documents)


def test_reordered_and_replaced_documents_are_placed_not_computed(engine: LocalEngine) -> None:
    engine.suggest(replace(REQUEST, documents=DOCUMENTS))
    prepare(engine, REQUEST)
    near = engine._builder.gate.repair.near_tokens
    for chosen in (DOCUMENTS[3::-1], (*DOCUMENTS[:3], DOCUMENTS[6]), DOCUMENTS[:1], DOCUMENTS[2:7]):
        suggestion = engine.suggest(replace(REQUEST, documents=chosen))
        assert suggestion.tokens_computed <= near + 24
        assert set(origins(suggestion)) <= {"loaded", "reused"}


def test_a_keystroke_computes_what_was_typed(engine: LocalEngine) -> None:
    prepare(engine, REQUEST)
    engine.suggest(REQUEST)
    typed = REQUEST.prefix
    for character in "refund(5":
        typed += character
        suggestion = engine.suggest(replace(REQUEST, prefix=typed))
        assert suggestion.tokens_computed <= 3
        assert suggestion.tokens_loaded == 0


def test_an_edit_elsewhere_computes_the_change_and_the_lines_at_the_cursor(engine: LocalEngine) -> None:
    prepare(engine, REQUEST)
    at = FILE.index("return refund(2")
    edited = replace(REQUEST, prefix=FILE[:at] + "memo = memo.strip()\n    " + FILE[at:CURSOR])
    suggestion = engine.suggest(edited)
    near = engine._builder.gate.repair.near_tokens
    assert suggestion.tokens_moved > 0, "what follows the edit is approximate until idle time"
    assert suggestion.tokens_computed <= near + 64
    prepare(engine, edited)
    assert engine.suggest(replace(edited, documents=DOCUMENTS[:2])).tokens_moved == 0


def test_a_second_start_computes_no_document(open_engine: Open) -> None:
    first = open_engine()
    prepare(first, REQUEST)
    first.close()
    second = open_engine()
    suggestion = second.suggest(REQUEST)
    assert origins(suggestion) == ["loaded"] * 4
    assert suggestion.tokens_computed <= second._builder.gate.repair.near_tokens + 24
    assert second.status()["reuse"]["from_disk"] > 0


def test_without_patience_unknown_documents_wait_for_idle_time_and_say_so(engine: LocalEngine) -> None:
    hurried = replace(REQUEST, patience_ms=0.0)
    first = engine.suggest(hurried)
    assert origins(first) == ["skipped"] * 4
    assert {use.reason for use in first.documents} == {"not encoded yet"}
    assert [use.origin for use in engine.plan(hurried).documents] == ["computed"] * 4
    prepare(engine, hurried)
    assert [use.origin for use in engine.plan(hurried).documents] == ["loaded"] * 4
    assert set(origins(engine.suggest(hurried))) <= {"loaded", "reused"}


def test_one_document_is_the_ordinary_prompt_bit_for_bit(engine: LocalEngine, small_model: Path) -> None:
    request = replace(REQUEST, documents=DOCUMENTS[:1], prefix="x = boo", suffix="")
    composed = logits(engine, request)
    segments = engine._assemble(request).segments
    assert [segment.part for segment in segments[:2]] == ["header", "document"]
    model = Model(small_model)
    context = Context(model, context_tokens=2048, batch_tokens=BATCH_TOKENS, threads=1, outputs=16)
    position = 0
    rest: list[int] = []
    for segment in segments:
        if segment.part not in ("header", "document"):
            rest += segment.tokens
            continue
        for start in range(0, len(segment.tokens), BATCH_TOKENS):
            tokens = segment.tokens[start : start + BATCH_TOKENS]
            context.decode(tokens, position)
            position += len(tokens)
    context.decode(rest, position)
    assert np.array_equal(composed, context.logits())
    context.close()
    model.close()


def test_everything_blended_is_full_attention(open_engine: Open) -> None:
    plain, blended = open_engine(), open_engine(Repair(blend=1.0))
    exact = LocalEngine(plain._model.path, n_ctx=1024, threads=1)
    request = replace(REQUEST, prefix="entry = boo", suffix="")
    full = logits(blended, request)
    tokens = blended._assemble(request).tokens
    reference = Context(exact._model, context_tokens=2048, batch_tokens=BATCH_TOKENS, threads=1)
    for start in range(0, len(tokens), BATCH_TOKENS):
        reference.decode(tokens[start : start + BATCH_TOKENS], start)
    assert divergence(reference.logits(), full) < 0.01
    assert divergence(reference.logits(), full) < divergence(reference.logits(), logits(plain, request))
    reference.close()
    exact.close()


@pytest.mark.parametrize(
    "repair",
    [
        Repair(layout="shared"),
        Repair(temperature=1.1),
        Repair(bias=-0.5),
        Repair(link_tokens=8),
        Repair(pairs=True, together=False),
    ],
    ids=["shared", "temperature", "bias", "link", "pairs"],
)
def test_every_repair_answers_nearly_as_full_attention(open_engine: Open, repair: Repair) -> None:
    engine = open_engine(repair)
    prepare(engine, REQUEST)
    engine.suggest(REQUEST)
    prompt = engine._assemble(REQUEST)
    reuse = engine._opened()[1]
    assert isinstance(reuse, ComposedTokens)
    reuse.run(prompt, Account(), patience_ms=None)
    found = reuse.against_full(prompt)
    assert found is not None
    assert found < 1.0
    again = engine.suggest(REQUEST)
    assert set(origins(again)) <= {"loaded", "reused"}
    assert again.tokens_computed <= 4


def test_a_cancel_anywhere_leaves_the_cells_true(open_engine: Open) -> None:
    engine, fresh = open_engine(), open_engine(kv_disk_mb=0)
    for step in range(12):
        cancel = Cancel()
        texts: list[str] = []

        def stop(text: str, texts: list[str] = texts, cancel: Cancel = cancel, step: int = step) -> None:
            texts.append(text)
            if len(texts) > step % 3:
                cancel.set()

        documents = DOCUMENTS[step % 5 : step % 5 + 3]
        engine.suggest(replace(REQUEST, documents=documents), on_text=stop, cancel=cancel)
        engine.suggest(replace(REQUEST, documents=documents, budget_ms=float(1 + 7 * step)))
    wanted = logits(fresh, replace(REQUEST, documents=DOCUMENTS[:2]))
    found = logits(engine, replace(REQUEST, documents=DOCUMENTS[:2]))
    assert divergence(wanted, found) < 0.05


def test_another_setting_or_repository_finds_nothing_of_this_one(open_engine: Open) -> None:
    engine = open_engine()
    engine.suggest(REQUEST)
    elsewhere = engine.suggest(replace(REQUEST, repository="another"))
    if extension.KV_ROWS in extension.features() and engine._assemble(REQUEST).segments[0].tokens != (
        engine._assemble(replace(REQUEST, repository="another")).segments[0].tokens
    ):
        assert elsewhere.tokens_computed > sum(use.tokens for use in elsewhere.documents)


def test_documents_of_a_step_become_what_full_attention_has(engine: LocalEngine) -> None:
    request = replace(REQUEST, prefix="entry = boo", suffix="", documents=DOCUMENTS[:3])
    engine.suggest(request)
    reuse = engine._opened()[1]
    assert isinstance(reuse, ComposedTokens)
    at_once = reuse.against_full(engine._assemble(request))
    prepare(engine, request)
    engine.suggest(replace(request, documents=DOCUMENTS[3:5]))
    engine.suggest(request)
    later = reuse.against_full(engine._assemble(request))
    assert at_once is not None
    assert later is not None
    assert later < at_once
    assert later < 0.02


def test_so_do_the_lines_of_the_file_above_the_cursor(engine: LocalEngine) -> None:
    prepare(engine, REQUEST)
    engine.suggest(replace(REQUEST, documents=DOCUMENTS[3:5]))
    engine.suggest(REQUEST)
    reuse = engine._opened()[1]
    assert isinstance(reuse, ComposedTokens)
    found = reuse.against_full(engine._assemble(REQUEST))
    assert found is not None
    assert found < 0.02
