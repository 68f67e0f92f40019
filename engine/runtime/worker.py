"""An engine on a thread of its own: the newest request of a client wins, and clients take turns."""

from __future__ import annotations

import atexit
import threading
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import Future
from types import TracebackType
from typing import Any, TypeVar

from engine.errors import EngineStopped
from engine.request import Cancel, Plan, Request, Suggestion
from engine.runtime.base import Engine, EngineInfo, OnText
from engine.runtime.idle import NOT_ENCODED, Preparation, Turns
from engine.runtime.job import Call, Job, answer_cancelled, cancelled, fail, resolve, settle, stopped
from engine.runtime.tally import Tally

T = TypeVar("T")
_STATUS_WAIT_S = 1.0
_open_threads: weakref.WeakSet[EngineThread] = weakref.WeakSet()


class EngineThread:
    """Owns an engine made by `factory` on its own thread, lazily, and serves many clients.

    Thread-safe. A client has at most one request waiting and one running: submitting cancels both. Clients
    are served in the order in which each began to wait. An error (also of `factory`, which is tried
    again at the next request) resolves the one future concerned; the thread lives on. What `prepare` asks
    for is done while nothing else is to do, in pieces that make way for anything else.
    """

    def __init__(self, factory: Callable[[], Engine]) -> None:
        self._factory = factory
        self._engine: Engine | None = None
        self._calls: deque[Call] = deque()
        self._waiting: OrderedDict[str, Job] = OrderedDict()
        self._running: Job | None = None
        self._idle = Turns()
        self._tally = Tally()
        self._reported: dict[str, Any] = {}
        self._asked: Future[dict[str, Any]] | None = None
        self._closed = False
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        _open_threads.add(self)

    def submit(
        self,
        request: Request,
        *,
        on_text: OnText | None = None,
        client: str = "",
        cancel: Cancel | None = None,
    ) -> Job:
        """Queue `request`; an older one of the same `client` is cancelled. Raises EngineStopped when closed.

        `on_text` is called on the engine's thread with the whole text so far, never after a cancel.
        """
        job = Job(request, client, Future(), cancel or Cancel(), on_text, self._withdraw)
        job.future.add_done_callback(lambda future: job.cancel() if future.cancelled() else None)
        if cancel is not None:
            forget = cancel.listen(lambda: self._withdraw(job))
            job.future.add_done_callback(lambda _: forget())
        with self._changed:
            self._start()
            older = self._waiting.get(client)
            self._waiting[client] = job
            if self._running is not None and self._running.client == client:
                self._running._cancel.set()
            if older is not None:
                self._tally.withdrawn()
            self._idle.preempt()
            self._changed.notify()
        if older is not None:
            answer_cancelled(older)
        return job

    def prepare(self, request: Request, *, client: str = "") -> None:
        """Encode in idle time what `request` would read; replaces what this `client` wanted prepared before.

        One bounded piece at a time, clients in turns, only while nothing else runs or waits; any request
        preempts a piece, which is taken up again afterwards. An error ends the preparation without a word:
        the suggestion itself will meet it. Raises EngineStopped when closed.
        """
        with self._changed:
            self._start()
            self._idle.replace(client, request)
            self._changed.notify()

    def drop(self, client: str) -> None:
        """Forget a `client` that is gone: cancel its requests and its idle work."""
        with self._changed:
            waiting = self._waiting.get(client)
            if self._running is not None and self._running.client == client:
                self._running._cancel.set()
            self._idle.drop(client)
        if waiting is not None:
            waiting.cancel()

    def status(self) -> dict[str, Any]:
        """What it does and did, as JSON: `loaded`, what runs and waits, counts, and the back end's `engine`.

        While a request runs for longer than a second, `engine` is what was known before it.
        """
        engine = self._engine_status()
        with self._changed:
            running = self._running.client if self._running is not None else None
            return {
                "loaded": self.loaded,
                "running": running,
                "waiting": list(self._waiting),
                "preparing": self._idle.report(),
                **self._tally.report(),
                "engine": engine,
            }

    def _engine_status(self) -> dict[str, Any]:
        with self._changed:
            if self._engine is None or self._closed:
                return {}
            if self._asked is None or self._asked.done():
                self._asked = self._call(lambda engine: engine.status(), preempts=False)
            asked = self._asked
        try:
            self._reported = asked.result(_STATUS_WAIT_S)
        except (TimeoutError, EngineStopped):
            pass
        except Exception as error:
            self._reported = {"problem": f"{type(error).__name__}: {error}"}
        return self._reported

    def plan(self, request: Request) -> Future[Plan]:
        """The prompt `request` would make; answered before waiting suggestions."""
        return self._call(lambda engine: engine.plan(request))

    def count(self, text: str) -> Future[int]:
        """Tokens of `text`."""
        return self._call(lambda engine: engine.count(text))

    def warm(self) -> Future[EngineInfo]:
        """Load now, and make what the first suggestion would wait for; resolves when ready."""
        return self._call(_warmed)

    def load(self) -> Future[EngineInfo]:
        """What is running, once it is loaded."""
        return self._call(lambda engine: engine.info)

    def info(self) -> EngineInfo:
        """What is running; waits until it is loaded and raises what loading raised."""
        return self.load().result()

    @property
    def busy(self) -> bool:
        """Whether anything runs or waits."""
        with self._changed:
            return bool(self._running or self._waiting or self._calls)

    @property
    def at_rest(self) -> bool:
        """Whether there is nothing to do, idle work included."""
        with self._changed:
            return not (self._running or self._waiting or self._calls or self._idle.active)

    @property
    def loaded(self) -> bool:
        """Whether the engine is there."""
        return self._engine is not None

    def close(self) -> None:
        """Cancel what runs, fail what waits with EngineStopped, free the engine. Idempotent."""
        with self._changed:
            self._closed = True
            waiting: list[Job | Call] = [*self._waiting.values(), *self._calls]
            self._waiting.clear()
            self._calls.clear()
            self._idle.clear()
            if self._running is not None:
                self._running._cancel.set()
            thread = self._thread
            self._changed.notify()
        for item in waiting:
            fail(item.future, stopped())
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def __enter__(self) -> EngineThread:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _call(self, work: Callable[[Engine], T], *, preempts: bool = True) -> Future[T]:
        future: Future[T] = Future()
        with self._changed:
            self._start()
            self._calls.append(Call(work, future))
            if preempts:
                self._idle.preempt()
            self._changed.notify()
        return future

    def _start(self) -> None:
        """Raise when closed; else make sure the thread runs. Needs the lock."""
        if self._closed:
            raise stopped()
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name="steerway-engine", daemon=True)
            self._thread.start()

    def _withdraw(self, job: Job) -> None:
        with self._changed:
            if self._waiting.get(job.client) is not job:
                return
            del self._waiting[job.client]
            self._tally.withdrawn()
        answer_cancelled(job)

    def _serve(self) -> None:
        while (item := self._next()) is not None:
            if isinstance(item, Job):
                self._suggest(item)
            elif isinstance(item, Preparation):
                self._prepare(item)
            else:
                self._do(item)
            # An idle thread must not keep the last request's documents, nor its callback, alive.
            del item
        if self._engine is not None:
            self._engine.close()
            self._engine = None

    def _next(self) -> Job | Call | Preparation | None:
        with self._changed:
            while not (self._closed or self._calls or self._waiting or self._idle):
                self._changed.wait()
            if self._closed:
                return None
            if self._calls:
                return self._calls.popleft()
            if self._waiting:
                _, self._running = self._waiting.popitem(last=False)
                return self._running
            return self._idle.take()

    def _suggest(self, job: Job) -> None:
        error: BaseException | None = None
        answer: Suggestion | None = None
        try:
            answer = self._answer(job)
        except BaseException as raised:
            error = raised
        with self._changed:
            self._running = None
            self._count(job, answer)
        if answer is not None:
            settle(lambda: job.future.set_result(answer))
        elif error is not None:
            fail(job.future, error)

    def _answer(self, job: Job) -> Suggestion:
        if job._cancel.is_set():
            return cancelled(job)
        return self._loaded().suggest(job.request, on_text=_until_cancelled(job), cancel=job._cancel)

    def _count(self, job: Job, answer: Suggestion | None) -> None:
        """Needs the lock. What an answer had to leave out for the time it takes is prepared for the next."""
        if answer is None:
            self._tally.failed()
            return
        self._tally.answered(answer)
        if not self._closed and any(use.reason == NOT_ENCODED for use in answer.documents):
            self._idle.replace(job.client, job.request)

    def _prepare(self, piece: Preparation) -> None:
        error: BaseException | None = None
        left = 0
        try:
            left = self._loaded().prepare(piece.request, cancel=piece.cancel)
        except BaseException as raised:
            error = raised
        with self._changed:
            made_way = piece.cancel.is_set()
            self._tally.piece(preempted=made_way, error=None if made_way else error)
            if made_way:
                self._idle.preempted(piece)
            elif error is not None:
                self._idle.failed(piece)
            else:
                self._idle.finished(piece, left)

    def _do(self, call: Call) -> None:
        resolve(call.future, lambda: call.work(self._loaded()))

    def _loaded(self) -> Engine:
        if self._engine is None:
            self._engine = self._factory()
        return self._engine


def _warmed(engine: Engine) -> EngineInfo:
    warm = getattr(engine, "warm", None)
    if warm is not None:
        warm()
    return engine.info


def _until_cancelled(job: Job) -> OnText | None:
    on_text, cancel = job._on_text, job._cancel
    if on_text is None:
        return None
    return lambda text: None if cancel.is_set() else on_text(text)


@atexit.register
def _close_all() -> None:
    """A daemon thread inside native code while the interpreter goes away would crash it."""
    for thread in list(_open_threads):
        thread.close()
