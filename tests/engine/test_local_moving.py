"""The keystroke path: the suffix moves, which is faster, approximate, and said."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.documents import Document
from engine.request import Cancel, Request, Suggestion
from engine.runtime import extension
from engine.runtime.local import LocalEngine

pytestmark = [
    pytest.mark.model,
    pytest.mark.skipif(
        extension.RANGED_SHIFT not in extension.features(),
        reason="the stock llama-cpp-python cannot shift a range: install ./native",
    ),
]

LINES = "".join(f"    total += weights[{n}] * values[{n}]\n" for n in range(6))
HOLE = Request(
    prefix="def score(weights, values):\n    total = 0\n    first = ",
    suffix=f"\n{LINES}    return total\n",
    path="score.py",
    documents=(Document("notes.md", "Scores start from the bias, which is the first weight.\n"),),
    max_tokens=8,
    layout="repo/fim",
)


@pytest.fixture(scope="module")
def moving(default_model: Path) -> Iterator[LocalEngine]:
    engine = LocalEngine(default_model, n_ctx=512, reuse="shift")
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def exact(default_model: Path) -> Iterator[LocalEngine]:
    engine = LocalEngine(default_model, n_ctx=512)
    yield engine
    engine.close()


def typed(text: str) -> Request:
    return replace(HOLE, prefix=HOLE.prefix + text)


def logits(engine: LocalEngine) -> np.ndarray:
    found = engine._opened()[1]._logits
    assert found is not None
    return found.astype(np.float64)


def kl(right: np.ndarray, ours: np.ndarray) -> float:
    p, q = (np.exp(one - one.max()) / np.exp(one - one.max()).sum() for one in (right, ours))
    return float((p * np.log((p + 1e-30) / (q + 1e-30))).sum())


def check_counts(engine: LocalEngine, request: Request, suggestion: Suggestion) -> None:
    counted = suggestion.tokens_computed + suggestion.tokens_reused + suggestion.tokens_moved
    assert counted == engine.plan(request).prompt_tokens
    assert len(engine._opened()[1].tokens) == engine._opened()[0].last_position() + 1


def test_a_keystroke_computes_little_and_says_that_it_is_approximate(
    moving: LocalEngine, exact: LocalEngine
) -> None:
    assert "approximate-suffix" in moving.info.features
    assert "approximate-suffix" not in exact.info.features
    assert moving.suggest(HOLE).tokens_moved == 0
    for text in ("wei", "weights[", "weights[0"):
        suggestion = moving.suggest(typed(text))
        assert suggestion.tokens_moved > 60
        assert suggestion.tokens_computed < 20
        check_counts(moving, typed(text), suggestion)
        assert exact.suggest(typed(text)).tokens_moved == 0
        assert kl(logits(exact), logits(moving)) < 0.5
    again = moving.suggest(typed("weights[0"))
    assert (again.tokens_computed, again.tokens_moved) == (0, suggestion.tokens_moved)


def test_deleting_moves_it_back(moving: LocalEngine) -> None:
    moving.suggest(replace(HOLE, prefix="# new\n" + typed("weights[0]").prefix))
    shorter = replace(HOLE, prefix="# new\n" + typed("wei").prefix)
    suggestion = moving.suggest(shorter)
    assert suggestion.tokens_moved > 60
    check_counts(moving, shorter, suggestion)


def test_a_new_line_or_another_suffix_is_computed(moving: LocalEngine) -> None:
    moving.suggest(HOLE)
    assert moving.suggest(typed("weights[0]\n    second = ")).tokens_moved == 0
    assert moving.suggest(replace(HOLE, suffix="\n    return total\n")).tokens_moved == 0
    assert moving.suggest(replace(HOLE, documents=())).tokens_moved == 0


def test_a_cancel_on_the_way_drops_what_was_parked(moving: LocalEngine, exact: LocalEngine) -> None:
    moving.suggest(HOLE)
    cancel = Cancel()
    context, cached = moving._opened()
    decode = context.decode

    def late(*args: object, **options: object) -> None:
        threading.Timer(0.002, cancel.set).start()
        decode(*args, **options)  # type: ignore[arg-type]

    context.decode = late  # type: ignore[method-assign]
    try:
        assert moving.suggest(typed("weights[0]"), cancel=cancel).stop == "cancelled"
    finally:
        del context.decode
    assert context.last_position(1) == -1
    assert len(cached.tokens) == context.last_position() + 1
    after = moving.suggest(typed("weights[1]"))
    assert after.tokens_moved == 0
    check_counts(moving, typed("weights[1]"), after)
    assert exact.suggest(typed("weights[1]")).text == after.text
    assert kl(logits(exact), logits(moving)) < 0.01
