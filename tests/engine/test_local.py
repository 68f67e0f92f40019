"""The local engine on a real model: reuse is exact, and whatever ends a request leaves the cache true."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.documents import Document
from engine.errors import (
    ContextTooLong,
    EngineStopped,
    ModelFileCorrupt,
    ModelFileMissing,
    ModelUnsupported,
    UsageError,
)
from engine.open import open_engine
from engine.request import Cancel, Request, Suggestion
from engine.runtime.local import LocalEngine
from engine.runtime.worker import EngineThread
from engine.settings import Settings

pytestmark = pytest.mark.model

LEDGER = Document(
    "ledger.py",
    "class Book:\n    def enter(self, *, amount_cents: int, memo: str) -> None:\n"
    '        """Write one entry: book.enter(amount_cents=500, memo="rent")."""\n\n'
    "    def balance(self) -> int:\n        ...\n",
    kind="api",
)
NOTES = Document("notes.md", "Refunds are entries with a negative amount.\n" * 6, kind="note")
HOLE = Request(
    prefix="from ledger import Book\n\n\ndef refund(book: Book, cents: int, reason: str) -> None:\n    book.",
    suffix="\n\n\ndef main() -> None:\n    refund(Book(), 5, 'x')\n",
    path="refund.py",
    documents=(NOTES, LEDGER),
    max_tokens=24,
)


@pytest.fixture(scope="module")
def engine(small_model: Path) -> Iterator[LocalEngine]:
    engine = LocalEngine(small_model, n_ctx=1024, threads=2)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def reference(small_model: Path) -> Iterator[LocalEngine]:
    engine = LocalEngine(small_model, n_ctx=1024, threads=2)
    yield engine
    engine.close()


@pytest.fixture
def fresh(reference: LocalEngine) -> Callable[[Request], tuple[Suggestion, np.ndarray]]:
    """Answers a request with a new context, in which nothing was computed; also the prompt's logits."""

    def answer(request: Request) -> tuple[Suggestion, np.ndarray]:
        if reference._context is not None:
            reference._context.close()
            reference._context = None
        return reference.suggest(request), prompt_logits(reference)

    return answer


def prompt_logits(engine: LocalEngine) -> np.ndarray:
    assert engine._reuse is not None
    assert engine._reuse._logits is not None
    return engine._reuse._logits


def check_like_fresh(
    engine: LocalEngine, request: Request, fresh: Callable[[Request], tuple[Suggestion, np.ndarray]]
) -> Suggestion:
    """The engine, with whatever it has cached, answers `request` to the last bit as a new one does."""
    ours, (theirs, logits) = engine.suggest(request), fresh(request)
    assert np.array_equal(prompt_logits(engine), logits)
    assert (ours.text, ours.stop, ours.tokens_generated) == (
        theirs.text,
        theirs.stop,
        theirs.tokens_generated,
    )
    assert ours.tokens_reused + ours.tokens_computed == theirs.tokens_computed
    return ours


def test_a_suggestion_streams_and_accounts_for_itself(small_model: Path) -> None:
    engine = open_engine(str(small_model), settings=Settings(context_tokens=1024, threads=2))
    texts: list[str] = []
    suggestion = engine.suggest(HOLE, on_text=texts.append)

    assert suggestion.text
    assert texts[-1].startswith(suggestion.text)
    assert len(texts) > 1
    assert suggestion.stop in ("statement", "line", "suffix", "length")
    assert [use.origin for use in suggestion.documents] == ["computed", "computed"]
    assert suggestion.tokens_computed == engine.plan(HOLE).prompt_tokens
    assert 0 < suggestion.first_token_ms <= suggestion.total_ms
    assert engine.info.backend == "local"
    assert engine.info.context_tokens == 1024
    engine.close()
    engine.close()


def test_the_same_again_computes_nothing(engine: LocalEngine) -> None:
    first, again = engine.suggest(HOLE), engine.suggest(HOLE)
    assert again.text == first.text
    assert (again.tokens_computed, again.tokens_reused) == (0, engine.plan(HOLE).prompt_tokens)
    assert [use.origin for use in again.documents] == ["reused", "reused"]


CHANGES = {
    "a keystroke": replace(HOLE, prefix=HOLE.prefix + "en"),
    "a word in the middle": replace(HOLE, prefix=HOLE.prefix.replace("refund", "repay_all")),
    "another last document": replace(HOLE, documents=(NOTES, replace(LEDGER, text="x = 1\n" * 20))),
    "documents reordered": replace(HOLE, documents=(LEDGER, NOTES)),
    "no documents": replace(HOLE, documents=()),
    "less of the file": replace(HOLE, prefix="from ledger import Book\n"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_reuse_is_exact_to_the_last_bit(
    engine: LocalEngine, fresh: Callable[[Request], tuple[Suggestion, np.ndarray]], change: str
) -> None:
    engine.suggest(HOLE)
    ours = check_like_fresh(engine, CHANGES[change], fresh)
    if change in ("a keystroke", "a word in the middle"):
        assert [use.origin for use in ours.documents] == ["reused", "reused"]
        assert ours.tokens_computed < 40


def test_accepted_text_is_computed_like_typed_text(
    engine: LocalEngine, fresh: Callable[[Request], tuple[Suggestion, np.ndarray]]
) -> None:
    accepted = engine.suggest(HOLE).text
    check_like_fresh(engine, replace(HOLE, prefix=HOLE.prefix + accepted + "\n    "), fresh)


def test_a_cancel_in_the_prompt_leaves_the_cache_true(
    engine: LocalEngine, fresh: Callable[[Request], tuple[Suggestion, np.ndarray]]
) -> None:
    long = replace(HOLE, documents=(Document("long.py", Path(__file__).read_text()[:1500]),))
    assert engine._reuse is None or engine.suggest(Request("x", "")) is not None
    cancel = Cancel()
    chunks = 0
    context, _ = engine._opened()
    decode = context.decode

    def counted(*args: object, **options: object) -> None:
        nonlocal chunks
        chunks += 1
        if chunks == 3:
            threading.Timer(0.01, cancel.set).start()
        decode(*args, **options)  # type: ignore[arg-type]

    context.decode = counted  # type: ignore[method-assign]
    try:
        cut = engine.suggest(long, cancel=cancel)
    finally:
        del context.decode
    assert cut.stop == "cancelled"
    assert (cut.text, cut.tokens_generated) == ("", 0)
    assert 0 < cut.tokens_computed < engine.plan(long).prompt_tokens
    ours = check_like_fresh(engine, long, fresh)
    assert ours.tokens_reused >= cut.tokens_computed


@pytest.mark.parametrize("after", [1, 3])
def test_a_cancel_while_generating_leaves_the_cache_true(
    engine: LocalEngine, fresh: Callable[[Request], tuple[Suggestion, np.ndarray]], after: int
) -> None:
    cancel = Cancel()
    texts: list[str] = []

    def on_text(text: str) -> None:
        texts.append(text)
        if len(texts) == after:
            cancel.set()

    cut = engine.suggest(HOLE, on_text=on_text, cancel=cancel)
    assert cut.stop == "cancelled"
    assert len(texts) == after
    check_like_fresh(engine, replace(HOLE, prefix=HOLE.prefix + "e"), fresh)


def test_a_cancel_set_before_is_answered_without_computing(engine: LocalEngine) -> None:
    cancel = Cancel()
    cancel.set()
    cut = engine.suggest(replace(HOLE, prefix="# new\n" + HOLE.prefix), cancel=cancel)
    assert (cut.stop, cut.tokens_computed, cut.text) == ("cancelled", 0, "")
    assert engine.suggest(HOLE).text


def test_a_cancel_after_the_end_does_not_reach_the_next_request(engine: LocalEngine) -> None:
    cancel = Cancel()
    engine.suggest(HOLE, cancel=cancel)
    cancel.set()
    assert engine.suggest(replace(HOLE, prefix=HOLE.prefix + "b")).stop != "cancelled"


def test_an_error_in_the_callback_leaves_the_cache_true(
    engine: LocalEngine, fresh: Callable[[Request], tuple[Suggestion, np.ndarray]]
) -> None:
    def broken(text: str) -> None:
        raise KeyError(text)

    with pytest.raises(KeyError):
        engine.suggest(HOLE, on_text=broken)
    check_like_fresh(engine, replace(HOLE, prefix=HOLE.prefix + "e"), fresh)


def test_the_budget_ends_a_prompt_and_a_generation(
    engine: LocalEngine, fresh: Callable[[Request], tuple[Suggestion, np.ndarray]]
) -> None:
    other = replace(HOLE, documents=(replace(NOTES, text="Something else.\n" * 90),))
    late = engine.suggest(replace(other, budget_ms=1))
    assert (late.stop, late.text) == ("time", "")
    check_like_fresh(engine, other, fresh)
    texts: list[str] = []
    block = replace(other, stop_at="block", max_tokens=400, budget_ms=200)
    assert engine.suggest(block, on_text=texts.append).stop in ("time", "suffix", "statement", "eos")


def test_one_token_is_one_token(engine: LocalEngine) -> None:
    suggestion = engine.suggest(replace(HOLE, max_tokens=1))
    assert suggestion.stop == "length"
    assert suggestion.tokens_generated <= 3  # at most two more to spell what healing took back


@pytest.mark.parametrize(("prefix", "suffix"), [("", ""), ("", "\nx = 1\n"), ("x", ""), ("\0\ud800é", "\0")])
def test_odd_files_get_an_answer(engine: LocalEngine, prefix: str, suffix: str) -> None:
    suggestion = engine.suggest(Request(prefix, suffix, max_tokens=4))
    assert suggestion.stop != "cancelled"
    assert engine.plan(Request(prefix, suffix)).prompt_tokens > 0


def test_characters_split_over_tokens_arrive_whole(engine: LocalEngine) -> None:
    texts: list[str] = []
    prefix = "# emoji, one a line\nFACES = ['🦜', '🦆', '🦉', '🦩', '🦚', '🦢', '🐧', '🦤', '🪿', "
    assert len(engine._model.encode("🦩", special=False)) > 1
    engine.suggest(Request(prefix, "]\n", path="faces.py", max_tokens=24), on_text=texts.append)
    assert texts
    assert not any("\ufffd" in text for text in texts)


def test_a_sampled_suggestion_follows_its_seed(engine: LocalEngine) -> None:
    warm = replace(HOLE, temperature=0.9, seed=3)
    assert engine.suggest(warm).text == engine.suggest(warm).text
    assert len({engine.suggest(replace(warm, seed=seed)).text for seed in range(6)}) > 1


def test_long_documents_are_cut_and_the_context_never_overflows(engine: LocalEngine) -> None:
    huge = Document("huge.py", "value = compute(1, 2, 3)\n" * 2000)
    request = replace(HOLE, documents=(huge, LEDGER), max_tokens=200, stop_at="block")
    plan = engine.plan(request)
    assert plan.prompt_tokens <= plan.budget_tokens <= 1024 - 200
    assert plan.documents[0].cut_tokens > 0
    suggestion = engine.suggest(replace(request, max_tokens=24))
    assert suggestion.tokens_computed + suggestion.tokens_reused <= 1000


def test_what_cannot_fit_is_said_in_one_line(engine: LocalEngine) -> None:
    with pytest.raises(ContextTooLong, match="fewer tokens"):
        engine.suggest(replace(HOLE, max_tokens=2000))
    with pytest.raises(ContextTooLong):
        engine.suggest(Request("x = [" + "'a b', " * 3000, "]", context_tokens=4))
    with pytest.raises(UsageError):
        engine.suggest(replace(HOLE, layout="nonsense"))
    assert engine.suggest(HOLE).text


def test_counting_and_planning_need_no_context(small_model: Path) -> None:
    engine = LocalEngine(small_model)
    assert engine.count("") == 0
    assert engine.count("def f(x):\n") == 6
    assert engine.plan(HOLE).documents[1].name == "ledger.py"
    assert engine._context is None
    engine.close()


def test_closed_is_closed(small_model: Path) -> None:
    engine = LocalEngine(small_model, n_ctx=512)
    engine.suggest(Request("x =", "", max_tokens=1))
    engine.close()
    for use in (lambda: engine.suggest(HOLE), lambda: engine.count("x"), lambda: engine.plan(HOLE)):
        with pytest.raises(EngineStopped):
            use()


def test_opening_and_closing_again_and_again_leaks_nothing(small_model: Path) -> None:
    psutil = pytest.importorskip("psutil")
    process = psutil.Process()

    def once() -> tuple[int, int, int]:
        engine = LocalEngine(small_model, n_ctx=2048, threads=2)
        engine.suggest(Request("x =", "", max_tokens=2))
        engine.close()
        return process.memory_info().rss, process.num_fds(), threading.active_count()

    first = [once() for _ in range(3)][-1]
    last = [once() for _ in range(5)][-1]
    # The model's tables and a 2,048-token cache are some 60 MB: five of them would show.
    assert last[0] - first[0] < 30_000_000
    assert last[1:] == first[1:]


def test_an_engine_on_its_thread_is_cancelled_by_the_next_request(small_model: Path) -> None:
    with EngineThread(lambda: LocalEngine(small_model, n_ctx=1024, threads=2)) as thread:
        assert thread.warm().result(60).family
        long = replace(HOLE, documents=(Document("a.py", "value = 1\n" * 150),), max_tokens=64)
        jobs = [thread.submit(replace(long, prefix=f"# {n}\n{HOLE.prefix}"), client="x") for n in range(5)]
        *older, newest = [job.future.result(120) for job in jobs]
        assert {one.stop for one in older} == {"cancelled"}
        assert newest.stop != "cancelled"


class TestFilesThatAreNoModel:
    def test_missing(self, tmp_path: Path) -> None:
        with pytest.raises(ModelFileMissing):
            LocalEngine(tmp_path / "none.gguf")

    def test_not_a_gguf(self, tmp_path: Path) -> None:
        file = tmp_path / "text.gguf"
        file.write_text("hello")
        with pytest.raises(ModelFileCorrupt):
            LocalEngine(file)
        with pytest.raises(ModelFileCorrupt):
            open_engine(str(file))

    @pytest.mark.parametrize("size", [4, 24, 3000, 3_000_000, 90_000_000])
    def test_cut_short(self, small_model: Path, tmp_path: Path, size: int) -> None:
        file = tmp_path / "cut.gguf"
        with small_model.open("rb") as source:
            file.write_bytes(source.read(size))
        with pytest.raises(ModelFileCorrupt):
            LocalEngine(file)
        with pytest.raises(ModelFileCorrupt):
            open_engine(str(file))

    def test_damaged_header(self, small_model: Path, tmp_path: Path) -> None:
        with small_model.open("rb") as source:
            data = bytearray(source.read(4_000_000))
        for position in (8, 16, 40, 200, 900):
            damaged = bytearray(data)
            damaged[position : position + 8] = b"\xff" * 8
            file = tmp_path / f"damaged{position}.gguf"
            file.write_bytes(damaged)
            with pytest.raises((ModelFileCorrupt, ModelUnsupported)):
                LocalEngine(file)

    def test_an_unknown_architecture(self, make_gguf: Callable[..., Path]) -> None:
        file = make_gguf()
        data = file.read_bytes().replace(b"llama", b"lllma")
        file.write_bytes(data)
        with pytest.raises(ModelUnsupported):
            LocalEngine(file)

    def test_a_model_without_its_weights(self, make_gguf: Callable[..., Path]) -> None:
        with pytest.raises((ModelFileCorrupt, ModelUnsupported)) as caught:
            LocalEngine(make_gguf())
        assert "\n" not in str(caught.value)
