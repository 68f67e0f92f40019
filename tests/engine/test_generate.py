"""Generating with drafts: the text of decoding one by one, and a cache without what was not picked."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.decode import sample
from engine.decode.draft import LONGEST_DRAFT_TOKENS, BatchCosts
from engine.documents import Document
from engine.request import Cancel, Request, Suggestion
from engine.runtime.generate import Generator
from engine.runtime.kv import CachedTokens
from engine.runtime.local import LocalEngine
from engine.runtime.threads import Pace

pytestmark = [pytest.mark.model, pytest.mark.timeout(900)]

CODE = Path(__file__).read_text().splitlines(keepends=True)
# llama.cpp's attention takes another path for a token alone from 512 cells on: last bits differ there.
SAME_BITS_TOKENS = 500


class FreeBatches(BatchCosts):
    """Costs under which every draft pays, whatever this machine says."""

    stale = False
    token_ms = 10.0

    def of(self, size: int) -> float:
        """Nothing for the tokens behind the first."""
        return 1.0 + size / 1000


@pytest.fixture(scope="module")
def engine(small_model: Path) -> Iterator[LocalEngine]:
    engine = LocalEngine(small_model, n_ctx=2048, threads=2)
    yield engine
    engine.close()


def answer(engine: LocalEngine, request: Request, *, drafts: int, **options: object) -> Suggestion:
    generator = Generator(engine._model, engine._vocabulary, drafts=drafts)
    generator.costs = FreeBatches()
    engine.__dict__["_generator"] = generator
    return engine.suggest(request, **options)  # type: ignore[arg-type]


def cached(engine: LocalEngine) -> list[int]:
    assert isinstance(engine._reuse, CachedTokens)
    return engine._reuse.tokens


def requests(count: int, *, lines: int, seed: int) -> list[Request]:
    """Holes in this file beside a part of it, and copies of a part begun."""
    draw = random.Random(seed)
    found = []
    for _ in range(count):
        start = draw.randrange(len(CODE) - lines)
        part = CODE[start : start + lines]
        cut = draw.randrange(1, lines)
        prefix = "".join(part[:cut])
        prefix = prefix[: len(prefix) - draw.randrange(8)]
        suffix = "".join(part[cut + 1 :]) if draw.random() < 0.5 else ""
        found.append(
            Request(
                prefix=prefix,
                suffix=suffix,
                path="copy.py",
                documents=(Document("original.py", "".join(part)),),
                max_tokens=16,
                stop_at="block",
            )
        )
    return found


def test_drafts_change_nothing_but_the_time(engine: LocalEngine) -> None:
    drafted = accepted = 0
    for request in requests(6, lines=10, seed=1):
        if engine.plan(request).prompt_tokens + request.max_tokens > SAME_BITS_TOKENS:
            continue
        plain = answer(engine, request, drafts=0)
        ours = answer(engine, request, drafts=LONGEST_DRAFT_TOKENS)
        assert (ours.text, ours.stop, ours.tokens_generated) == (
            plain.text,
            plain.stop,
            plain.tokens_generated,
        )
        assert (plain.tokens_drafted, plain.tokens_accepted) == (0, 0)
        drafted, accepted = drafted + ours.tokens_drafted, accepted + ours.tokens_accepted
    assert 0 < accepted < drafted


def test_a_sampled_text_is_the_same_too(engine: LocalEngine) -> None:
    for request in requests(2, lines=10, seed=2):
        warm = replace(request, temperature=0.8, seed=5)
        assert answer(engine, warm, drafts=LONGEST_DRAFT_TOKENS).text == answer(engine, warm, drafts=0).text


def test_in_long_contexts_texts_part_only_where_two_tokens_are_nearly_equal(
    engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    picks: list[tuple[int, np.ndarray]] = []
    pick = sample.Sampler.pick

    def noted(self: sample.Sampler, logits: np.ndarray, **options: object) -> int:
        token = pick(self, logits, **options)  # type: ignore[arg-type]
        picks.append((token, logits.copy()))
        return token

    monkeypatch.setattr(sample.Sampler, "pick", noted)
    for request in requests(2, lines=60, seed=3):
        texts = []
        for drafts in (0, LONGEST_DRAFT_TOKENS):
            picks.clear()
            answer(engine, request, drafts=drafts)
            texts.append(list(picks))
        for (one, logits), (other, _) in zip(*texts, strict=False):
            if one != other:
                assert logits[one] - logits[other] < 1.5
                break


def test_the_cache_holds_what_was_picked_and_nothing_else(engine: LocalEngine) -> None:
    for request in requests(3, lines=10, seed=4):
        ours = answer(engine, request, drafts=LONGEST_DRAFT_TOKENS)
        length = engine.plan(request).prompt_tokens + ours.tokens_generated - 1
        assert len(cached(engine)) == length
        assert engine._context is not None
        assert engine._context.last_position() == length - 1


def test_text_comes_token_by_token_and_no_more_than_asked_for(engine: LocalEngine) -> None:
    for request in requests(2, lines=10, seed=5):
        for most in (1, 2, 5):
            texts: list[str] = []
            short = replace(request, max_tokens=most)
            ours = answer(engine, short, drafts=LONGEST_DRAFT_TOKENS, on_text=texts.append)
            assert len(texts) <= ours.tokens_generated <= most + 2
            assert ours.tokens_accepted <= ours.tokens_drafted <= most


@pytest.mark.parametrize("after", [1, 4, 9])
def test_a_cancel_inside_a_draft_leaves_the_cache_true(engine: LocalEngine, after: int) -> None:
    document = "".join(CODE[:14])
    request = Request(
        "".join(CODE[:6]), "", path="x.py", documents=(Document("o.py", document),), stop_at="block"
    )
    whole = answer(engine, request, drafts=0)
    cancel = Cancel()
    texts: list[str] = []

    def on_text(text: str) -> None:
        texts.append(text)
        if len(texts) == after:
            cancel.set()

    cut = answer(engine, request, drafts=LONGEST_DRAFT_TOKENS, on_text=on_text, cancel=cancel)
    assert cut.stop in ("cancelled", whole.stop)
    assert engine._context is not None
    assert engine._context.last_position() + 1 == len(cached(engine))
    assert answer(engine, request, drafts=LONGEST_DRAFT_TOKENS).text == whole.text


def test_an_error_inside_a_draft_leaves_the_cache_true(engine: LocalEngine) -> None:
    request = requests(1, lines=12, seed=6)[0]

    def broken(text: str) -> None:
        if len(text) > 12:
            raise KeyError(text)

    with pytest.raises(KeyError):
        answer(engine, request, drafts=LONGEST_DRAFT_TOKENS, on_text=broken)
    assert engine._context is not None
    assert engine._context.last_position() + 1 == len(cached(engine))


def test_a_full_context_ends_the_text_and_no_draft_passes_it(small_model: Path) -> None:
    engine = LocalEngine(small_model, n_ctx=256, threads=2)
    request = Request("one two three four " * 44, "", max_tokens=24, stop_at="block", path="x.txt")
    ours = answer(engine, request, drafts=LONGEST_DRAFT_TOKENS)
    assert len(cached(engine)) <= 256
    assert ours.text == answer(engine, request, drafts=0).text
    engine.close()


def test_threads_are_those_of_the_pace(engine: LocalEngine) -> None:
    request = requests(1, lines=12, seed=7)[0]
    generator = Generator(engine._model, engine._vocabulary, pace=Pace(2))
    engine.__dict__["_generator"] = generator
    assert engine.suggest(request).text == answer(engine, request, drafts=0).text
