"""llama.cpp's binding: nothing that could crash native code gets there, and it keeps quiet."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from engine.errors import EngineStopped, EngineUnavailable
from engine.runtime import library, threads
from engine.runtime.alarm import Alarm
from engine.runtime.context import Aborted, Context
from engine.runtime.kv import BLOCK_TOKENS, CachedTokens
from engine.runtime.llama import Model

TEXT = Path(__file__).read_text()


@pytest.fixture(scope="module")
def model(small_model: Path) -> Iterator[Model]:
    model = Model(small_model)
    yield model
    model.close()


@pytest.fixture
def context(model: Model) -> Iterator[Context]:
    context = Context(model, context_tokens=512, batch_tokens=32, threads=2)
    yield context
    context.close()


@pytest.mark.model
def test_tokens_in_logits_out(model: Model, context: Context) -> None:
    tokens = model.encode("def add(a, b):\n    return a +", special=False)
    context.decode(tokens, 0)
    logits = context.logits()
    assert logits.shape == (model.vocabulary_size,)
    assert model.piece(int(logits.argmax())) == b" b"
    assert context.last_position() == len(tokens) - 1


@pytest.mark.model
def test_the_vocabulary_reads_back_what_it_wrote(model: Model) -> None:
    for text in ("", "x = 1\n", "naïve 🦜 \0", "\t\r\n  ", TEXT):
        assert b"".join(map(model.piece, model.encode(text, special=False))) == text.encode()
    assert model.pieces() == [model.piece(token) for token in range(model.vocabulary_size)]
    assert model.special("<|endoftext|>") in model.eog
    assert model.special("<|no_such_marker|>") is None
    assert model.special("") is None
    assert model.metadata["general.architecture"] == "llama"


@pytest.mark.model
def test_control_tokens_come_only_when_asked_for(model: Model) -> None:
    name = "<|im_start|>"
    assert model.encode(name, special=True) == [model.special(name)]
    assert model.special(name) not in model.encode(name, special=False)
    assert model.piece(model.special(name) or 0) == b""


@pytest.mark.model
def test_what_would_crash_native_code_is_refused(model: Model, context: Context) -> None:
    context.decode([1, 2, 3], 0)
    size = model.vocabulary_size
    for tokens, position, sequence, error in (
        ([], 3, 0, ValueError),
        ([1] * 33, 3, 0, ValueError),
        ([size], 3, 0, IndexError),
        ([-1], 3, 0, IndexError),
        ([1], 5, 0, ValueError),
        ([1], 0, 0, ValueError),
        ([1], 3, 1, IndexError),
        ([1], 3, -1, IndexError),
    ):
        with pytest.raises(error):
            context.decode(tokens, position, sequence=sequence)
    for start in range(3, 512, 32):
        context.decode([1] * min(32, 512 - start), start)
    with pytest.raises(ValueError, match="context of 512"):
        context.decode([1], 512)
    for token in (-1, size, 2**40):
        with pytest.raises(IndexError):
            model.piece(token)
    with pytest.raises(ValueError):
        context.remove(-1)
    with pytest.raises(IndexError):
        context.copy(0, 1, 0, 3)


@pytest.mark.model
def test_a_closed_context_and_model_refuse_everything(small_model: Path) -> None:
    model = Model(small_model)
    context = Context(model, context_tokens=256, batch_tokens=8, threads=1)
    model_first = Context(model, context_tokens=256, batch_tokens=8, threads=1)
    context.close()
    context.close()
    for use in (lambda: context.decode([1], 0), context.logits, context.clear, lambda: context.remove(0)):
        with pytest.raises(EngineStopped):
            use()
    model_first.close()
    model.close()
    model.close()
    with pytest.raises(EngineStopped):
        model.encode("x", special=False)
    with pytest.raises(EngineStopped):
        Context(model, context_tokens=256, batch_tokens=8, threads=1)


@pytest.mark.model
def test_an_abort_ends_a_decode_and_the_next_one_is_right(model: Model) -> None:
    context = Context(model, context_tokens=1024, batch_tokens=512, threads=2)
    tokens = model.encode(TEXT, special=False)[:512]
    context.decode(tokens[:8], 0)
    expected = context.logits().copy()
    threading.Timer(0.02, context.abort).start()
    with pytest.raises(Aborted):
        context.decode(tokens[8:], 8)
    with pytest.raises(Aborted):
        context.decode(tokens[:1], context.last_position() + 1)
    context.abort(False)
    context.remove(0)
    context.decode(tokens[:8], 0)
    assert np.array_equal(context.logits(), expected)
    context.close()


@pytest.mark.model
def test_the_same_blocks_give_the_same_bits_however_they_are_chunked(model: Model) -> None:
    """What reuse relies on; where kernels differ (another CPU), this is what to look at first."""
    tokens = model.encode(TEXT, special=False)[: 20 * BLOCK_TOKENS]
    results = []
    for chunk in (BLOCK_TOKENS, 3 * BLOCK_TOKENS, 7 * BLOCK_TOKENS):
        context = Context(model, context_tokens=512, batch_tokens=56, threads=2)
        for start in range(0, len(tokens), chunk):
            context.decode(tokens[start : start + chunk], start)
        results.append(context.logits().copy())
        context.close()
    assert all(np.array_equal(results[0], other) for other in results[1:])


@pytest.mark.model
def test_a_smaller_chunk_is_tried_when_full_ones_are_always_cancelled(model: Model) -> None:
    context = Context(model, context_tokens=512, batch_tokens=56, threads=2)
    cached, prompt = CachedTokens(context), model.encode(TEXT, special=False)[:100]
    sizes = []
    for _ in range(4):
        context.abort()
        cached.keep(prompt)
        sizes.append(cached._chunk)
        with pytest.raises(Aborted):
            cached.compute(prompt)
        assert cached.tokens == []
    context.abort(False)
    assert sizes == [56, 24, 8, 8]
    cached.compute(prompt)
    assert (cached._chunk, cached.tokens) == (56, prompt)
    context.close()


@pytest.mark.model
def test_nothing_is_written_to_the_terminal(small_model: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from engine.request import Cancel, Request\n"
        "from engine.runtime.local import LocalEngine\n"
        "engine = LocalEngine(Path(sys.argv[1]), n_ctx=512)\n"
        "engine.suggest(Request('x =', '', max_tokens=3)); c = Cancel(); c.set()\n"
        "engine.suggest(Request('y =', ''), cancel=c)\n"
        "try: LocalEngine(Path(sys.argv[2]))\n"
        "except Exception as error: assert 'none' in str(error)\n"
    )
    arguments = [sys.executable, "-c", code, str(small_model), "none.gguf"]
    environment = {key: value for key, value in os.environ.items() if key != "STEERWAY_DEBUG"}
    quiet = subprocess.run(arguments, capture_output=True, text=True, env=environment, check=True)
    assert (quiet.stdout, quiet.stderr) == ("", "")
    asked = subprocess.run(
        arguments, capture_output=True, text=True, env={**environment, "STEERWAY_DEBUG": "3"}, check=True
    )
    assert asked.stdout == ""
    assert "llama" in asked.stderr
    assert "--- prompt" in asked.stderr
    assert "reused" in asked.stderr


def test_waiting_threads_spin_briefly_unless_a_person_chose(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    library._bound_spinning()
    assert "GOMP_SPINCOUNT" not in os.environ
    monkeypatch.delenv("OMP_WAIT_POLICY")
    monkeypatch.setenv("GOMP_SPINCOUNT", "restored at the end")
    monkeypatch.delenv("GOMP_SPINCOUNT")
    library._bound_spinning()
    assert os.environ["GOMP_SPINCOUNT"] == library.SPIN_COUNT


def test_a_missing_library_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llama_cpp.llama_cpp", None)
    with pytest.raises(EngineUnavailable, match="steerway doctor"):
        library.load.__wrapped__()


def test_threads_are_cores_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 1 <= threads.default_threads() <= min(threads.MOST_THREADS, len(threads._usable()))
    monkeypatch.setattr(threads, "_usable", lambda: frozenset(range(64)))
    monkeypatch.setattr(threads, "_physical", lambda usable: 0)
    monkeypatch.setattr(threads, "_quota", lambda: 0)
    assert threads.default_threads() == threads.MOST_THREADS
    monkeypatch.setattr(threads, "_quota", lambda: 3)
    assert threads.default_threads() == 3


class TestAlarm:
    def test_it_rings_once_and_is_off_afterwards(self) -> None:
        from engine.request import Cancel

        rings: list[bool] = []
        cancel = Cancel()
        with Alarm(rings.append, cancel, budget_ms=None) as alarm:
            cancel.set()
            assert alarm.cancelled
            assert rings == [True]
        cancel.set()
        assert rings == [True, False]
        assert cancel._listeners == []

    def test_the_budget_rings_it(self) -> None:
        from engine.request import Cancel

        rang = threading.Event()
        before = threading.active_count()
        with Alarm(lambda on: rang.set() if on else None, Cancel(), budget_ms=1) as alarm:
            assert rang.wait(30)
            assert alarm.late
        with Alarm(lambda on: pytest.fail("rang") if on else None, Cancel(), budget_ms=60_000):
            time.sleep(0)
        assert threading.active_count() == before
