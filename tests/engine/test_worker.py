"""The engine's thread: newest request wins, clients take turns, errors stay with their request."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Iterator

import pytest

from engine.documents import Document
from engine.errors import EngineStopped, ModelFileMissing
from engine.request import Cancel, Plan, Request, Suggestion
from engine.runtime.base import EngineInfo, OnText
from engine.runtime.fake import FakeEngine
from engine.runtime.worker import EngineThread

LEDGER = Document("ledger.py", "book.enter(amount_cents=cents, memo=reason)\n")
HOLE = Request(prefix="def refund(book, cents, reason):\n    book.", suffix="\n", documents=(LEDGER,))


def test_a_request_runs_on_the_engines_thread_and_answers_through_a_future() -> None:
    with EngineThread(FakeEngine) as thread:
        seen: list[tuple[str, str]] = []
        job = thread.submit(
            HOLE, on_text=lambda text: seen.append((text, threading.current_thread().name)), client="editor"
        )

        assert job.future.result(10).text == "enter(amount_cents=cents, memo=reason)"
        assert seen[0] == ("enter", "steerway-engine")
        assert [text for text, _ in seen] == sorted((text for text, _ in seen), key=len)


class Gate(FakeEngine):
    """Holds each request at its first token until let go; counts what it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.entered = threading.Semaphore(0)
        self.asked: list[str] = []

    def suggest(
        self, request: Request, *, on_text: OnText | None = None, cancel: Cancel | None = None
    ) -> Suggestion:
        assert cancel is not None
        self.asked.append(request.prefix)
        self.entered.release()
        done = threading.Event()
        cancel.listen(done.set)
        if request.prefix.startswith("hold"):
            assert done.wait(30)
        return Suggestion(request.prefix, "cancelled" if cancel.is_set() else "line")


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def held(gate: Gate) -> Iterator[EngineThread]:
    """A thread whose engine is inside a request of client "a"."""
    with EngineThread(lambda: gate) as thread:
        thread.submit(Request("hold", ""), client="a")
        assert gate.entered.acquire(timeout=30)
        yield thread


def test_the_newest_request_of_a_client_wins(gate: Gate) -> None:
    with EngineThread(lambda: gate) as thread:
        first = thread.submit(Request("hold 1", ""), client="a")
        assert gate.entered.acquire(timeout=30)
        waiting = thread.submit(Request("hold other", ""), client="b")
        second = thread.submit(Request("hold 2", ""), client="b")
        third = thread.submit(Request("3", ""), client="a")

        assert first.future.result(30).stop == "cancelled"
        assert waiting.future.result(30).stop == "cancelled"
        assert gate.entered.acquire(timeout=30)
        second.cancel()
        assert second.future.result(30).stop == "cancelled"
        assert third.future.result(30).text == "3"
        assert gate.asked == ["hold 1", "hold 2", "3"]


def test_clients_take_turns_however_often_one_asks(held: EngineThread, gate: Gate) -> None:
    jobs = [
        held.submit(Request(f"{client}{n}", ""), client=client)
        for client, n in (("b", 1), ("c", 1), ("b", 2), ("b", 3), ("d", 1), ("a", 1))
    ]
    for job in jobs:
        job.future.result(30)
    assert gate.asked == ["hold", "b3", "c1", "d1", "a1"]


def test_a_waiting_request_is_cancelled_without_running(held: EngineThread, gate: Gate) -> None:
    job = held.submit(Request("x", "", version=7), client="b")
    job.cancel()
    assert job.future.result(1) == Suggestion("", "cancelled", version=7)
    job.cancel()
    assert gate.asked == ["hold"]


def test_a_cancel_made_elsewhere_ends_the_running_request(gate: Gate) -> None:
    cancel = Cancel()
    with EngineThread(lambda: gate) as thread:
        job = thread.submit(Request("hold", ""), cancel=cancel)
        assert gate.entered.acquire(timeout=30)
        cancel.set()
        assert job.future.result(30).stop == "cancelled"


def test_a_cancel_made_elsewhere_answers_a_waiting_request_at_once(held: EngineThread, gate: Gate) -> None:
    cancel = Cancel()
    job = held.submit(Request("x", ""), client="b", cancel=cancel)
    cancel.set()
    assert job.future.result(1).stop == "cancelled"
    assert gate.asked == ["hold"]
    assert cancel._listeners == []
    before = held.submit(Request("y", ""), client="b", cancel=cancel)
    held.submit(Request("z", ""), client="a")
    assert before.future.result(30).stop == "cancelled"
    assert "y" not in gate.asked


def test_a_cancelled_request_says_nothing_more() -> None:
    texts: list[str] = []
    with EngineThread(lambda: FakeEngine(token_delay_ms=1)) as thread:
        job = thread.submit(HOLE, on_text=lambda text: (texts.append(text), job.cancel())[0])
        assert job.future.result(30).stop == "cancelled"
    assert len(texts) == 1


async def test_cancelling_a_wrapped_future_ends_the_work(gate: Gate) -> None:
    with EngineThread(lambda: gate) as thread:
        job = thread.submit(Request("hold", ""))
        waiter = asyncio.ensure_future(asyncio.wrap_future(job.future))
        await asyncio.to_thread(gate.entered.acquire)
        waiter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiter
        assert (await asyncio.wrap_future(thread.submit(Request("next", "")).future)).text == "next"


def test_an_error_ends_its_request_and_nothing_else() -> None:
    class Fragile(FakeEngine):
        def suggest(
            self, request: Request, *, on_text: OnText | None = None, cancel: Cancel | None = None
        ) -> Suggestion:
            if request.prefix == "boom":
                raise ZeroDivisionError("native trouble")
            return super().suggest(request, on_text=on_text, cancel=cancel)

    def broken(text: str) -> None:
        raise KeyError(text)

    with EngineThread(Fragile) as thread:
        with pytest.raises(ZeroDivisionError):
            thread.submit(Request("boom", "")).future.result(30)
        with pytest.raises(KeyError):
            thread.submit(HOLE, on_text=broken).future.result(30)
        assert thread.submit(HOLE).future.result(30).text


def test_loading_is_tried_again_after_it_failed() -> None:
    tries: list[int] = []

    def factory() -> FakeEngine:
        tries.append(1)
        if len(tries) == 1:
            raise ModelFileMissing("the model is not on this machine", hint="pull it")
        return FakeEngine()

    with EngineThread(factory) as thread:
        assert tries == []
        with pytest.raises(ModelFileMissing):
            thread.info()
        assert thread.info().backend == "fake"
        assert thread.warm().result(30).backend == "fake"
        assert len(tries) == 2


def test_plan_and_count_are_answered_before_waiting_suggestions(held: EngineThread) -> None:
    order: list[str] = []
    job = held.submit(HOLE, client="b")
    job.future.add_done_callback(lambda _: order.append("suggestion"))
    plan = held.plan(HOLE)
    plan.add_done_callback(lambda _: order.append("plan"))
    count = held.count("a b")
    held.submit(Request("1", ""), client="a")
    assert isinstance(plan.result(30), Plan)
    assert count.result(30) == 3
    job.future.result(30)
    assert order == ["plan", "suggestion"]


def test_close_answers_everything_and_leaves_no_thread(gate: Gate) -> None:
    thread = EngineThread(lambda: gate)
    running = thread.submit(Request("hold", ""), client="a")
    assert gate.entered.acquire(timeout=30)
    waiting = thread.submit(HOLE, client="b")
    plan = thread.plan(HOLE)
    thread.close()
    thread.close()

    assert running.future.result(0).stop == "cancelled"
    for future in (waiting.future, plan):
        with pytest.raises(EngineStopped):
            future.result(0)
    with pytest.raises(EngineStopped):
        thread.submit(HOLE)
    with pytest.raises(EngineStopped):
        gate.plan(HOLE) if not gate._closed else FakeEngine.suggest(gate, HOLE)
    assert not any(t.name == "steerway-engine" for t in threading.enumerate())


def test_close_before_anything_was_asked_starts_nothing() -> None:
    thread = EngineThread(lambda: pytest.fail("loaded"))
    thread.close()
    assert not any(t.name == "steerway-engine" for t in threading.enumerate())


def test_close_from_a_callback_does_not_wait_for_itself() -> None:
    thread = EngineThread(FakeEngine)
    job = thread.submit(HOLE, on_text=lambda _: thread.close())
    assert job.future.result(30).stop == "cancelled"
    thread.close()


def test_an_idle_thread_keeps_no_request_alive() -> None:
    class Marked(str):
        pass

    with EngineThread(FakeEngine) as thread:
        thread.submit(Request(Marked("x = 1"), "")).future.result(30)
        thread.info()
        gc.collect()
        assert not [thing for thing in gc.get_objects() if type(thing) is Marked]


def test_many_clients_at_once_all_get_an_answer() -> None:
    def ask(client: str, thread: EngineThread, answers: list[Suggestion]) -> None:
        for _ in range(30):
            answers.append(thread.submit(HOLE, client=client).future.result(60))

    answers: list[Suggestion] = []
    with EngineThread(FakeEngine) as thread:
        asking = [threading.Thread(target=ask, args=(f"c{n}", thread, answers)) for n in range(6)]
        for one in asking:
            one.start()
        for one in asking:
            one.join()
        info: EngineInfo = thread.info()
    assert info.backend == "fake"
    assert len(answers) == 180
    assert {answer.stop for answer in answers} == {"statement"}
