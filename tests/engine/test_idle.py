"""Idle work: done piece by piece while nothing else is to do, out of the way at once when something is."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from engine.documents import Document
from engine.errors import EngineStopped
from engine.request import Cancel, DocumentUse, Request, Suggestion
from engine.runtime.base import OnText
from engine.runtime.fake import FakeEngine
from engine.runtime.idle import NOT_ENCODED, Preparation
from engine.runtime.worker import EngineThread

GUIDE = Document("guide.md", "Call book.enter.\n")


class Careful(FakeEngine):
    """Each request's prefix says how many pieces it needs ("3 name"); "slow" pieces last until cancelled."""

    def __init__(self) -> None:
        super().__init__()
        self.done: dict[str, int] = {}
        self.order: list[str] = []
        self.began = threading.Semaphore(0)
        self.ended = threading.Semaphore(0)
        self.left_out = False

    def prepare(self, request: Request, *, cancel: Cancel) -> int:
        self.began.release()
        pieces, _, name = request.prefix.partition(" ")
        if name.startswith("slow") and not self.done.get("let go"):
            interrupted = threading.Event()
            cancel.listen(interrupted.set)
            assert interrupted.wait(30)
        if name == "broken":
            raise EngineStopped("broken")
        if not cancel.is_set():
            self.done[name] = self.done.get(name, 0) + 1
            self.order.append(name)
        self.ended.release()
        return int(pieces) - self.done.get(name, 0)

    def suggest(
        self, request: Request, *, on_text: OnText | None = None, cancel: Cancel | None = None
    ) -> Suggestion:
        self.order.append("suggest")
        uses = (DocumentUse("guide.md", "doc", 0, "skipped", 5, reason=NOT_ENCODED),) if self.left_out else ()
        return Suggestion("text", "line", uses)

    def finish(self, pieces: int) -> None:
        """Wait until so many more pieces ended."""
        for _ in range(pieces):
            assert self.ended.acquire(timeout=30)


@pytest.fixture
def engine() -> Careful:
    return Careful()


@pytest.fixture
def thread(engine: Careful) -> Iterator[EngineThread]:
    with EngineThread(lambda: engine) as thread:
        yield thread


def test_pieces_are_done_until_nothing_is_left_clients_in_turns(
    thread: EngineThread, engine: Careful
) -> None:
    # A slow piece holds the thread until both others are there.
    thread.prepare(Request("1 slow", ""), client="c")
    assert engine.began.acquire(timeout=30)
    thread.prepare(Request("3 left", ""), client="a")
    thread.prepare(Request("2 right", ""), client="b")
    thread.drop("c")
    engine.finish(6)
    assert engine.order == ["left", "right", "left", "right", "left"]
    assert thread.count("x").result(30) == 1
    assert thread.status()["preparing"] == {}


def test_a_suggestion_preempts_a_piece_which_is_taken_up_again(thread: EngineThread, engine: Careful) -> None:
    thread.prepare(Request("1 slow", ""), client="a")
    assert engine.began.acquire(timeout=30)
    assert thread.submit(Request("x", ""), client="b").future.result(30).text == "text"
    assert engine.began.acquire(timeout=30)
    engine.done["let go"] = 1
    assert thread.count("x").result(30) == 1
    engine.finish(3)
    assert engine.order == ["suggest", "slow"]
    assert thread.status()["idle_preempted"] == 2


def test_the_newest_preparation_of_a_client_replaces_the_older(thread: EngineThread, engine: Careful) -> None:
    thread.prepare(Request("9 slow", ""), client="a")
    assert engine.began.acquire(timeout=30)
    thread.prepare(Request("2 new", ""), client="a")
    engine.finish(3)
    assert thread.count("x").result(30) == 1
    assert engine.order == ["new", "new"]


def test_the_same_preparation_again_goes_on_where_it_is(thread: EngineThread, engine: Careful) -> None:
    request = Request("9 slow", "")
    thread.prepare(request, client="a")
    assert engine.began.acquire(timeout=30)
    thread.prepare(Request("9 slow", ""), client="a")
    assert thread.status()["preparing"] == {"a": -1}
    assert not engine.ended.acquire(blocking=False)
    thread.drop("a")
    engine.finish(1)
    assert thread.status()["preparing"] == {}


def test_what_a_suggestion_left_out_is_prepared_after_it(thread: EngineThread, engine: Careful) -> None:
    engine.left_out = True
    request = Request("2 guide", "", documents=(GUIDE,), patience_ms=1.0)
    thread.submit(request, client="editor").future.result(30)
    engine.finish(2)
    assert engine.order == ["suggest", "guide", "guide"]


def test_an_error_ends_the_preparation_and_nothing_else(thread: EngineThread, engine: Careful) -> None:
    thread.prepare(Request("2 broken", ""), client="a")
    thread.prepare(Request("1 fine", ""), client="b")
    engine.finish(1)
    assert thread.submit(Request("x", ""), client="a").future.result(30).text == "text"
    assert thread.status()["idle_error"] == "EngineStopped: broken"
    assert thread.status()["preparing"] == {}


def test_work_that_gets_nowhere_ends() -> None:
    piece = Preparation("a", Request("", ""))
    worth = [piece.advance(left) for left in (5, 4) + (5, 4) * 100]
    assert worth[:2] == [True, True]
    assert worth.index(False) < 100


def test_a_closed_thread_prepares_nothing(engine: Careful) -> None:
    thread = EngineThread(lambda: engine)
    thread.prepare(Request("9 slow", ""), client="a")
    assert engine.began.acquire(timeout=30)
    thread.close()
    assert engine.order == []
    with pytest.raises(EngineStopped):
        thread.prepare(Request("1 x", ""), client="a")


def test_dropping_a_client_cancels_what_waits_and_runs(thread: EngineThread, engine: Careful) -> None:
    thread.prepare(Request("1 slow", ""), client="b")
    assert engine.began.acquire(timeout=30)
    thread.drop("b")
    thread.drop("never seen")
    assert thread.count("x").result(30) == 1
    assert engine.order == []


def test_status_counts_and_never_loads(engine: Careful) -> None:
    with EngineThread(lambda: engine) as thread:
        assert thread.status()["loaded"] is False
        thread.submit(Request("x", "")).future.result(30)
        status = thread.status()
    assert status["loaded"] is True
    assert status["requests"] == 1
    assert status["engine"] == {}
