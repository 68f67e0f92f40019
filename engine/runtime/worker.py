"""An engine on a thread of its own: the newest request of a client wins, and clients take turns."""

from __future__ import annotations

import atexit
import threading
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, TypeVar

from engine.errors import EngineStopped
from engine.request import Cancel, Plan, Request, Suggestion
from engine.runtime.base import Engine, EngineInfo, OnText

T = TypeVar("T")
_open_threads: weakref.WeakSet[EngineThread] = weakref.WeakSet()


@dataclass(frozen=True, eq=False)
class Job:
    """One submitted request: the future of its suggestion, and the way to end it early.

    Cancelled by `cancel()`, by a newer request of the same client or by the `Cancel` it was submitted with,
    the future resolves to a Suggestion with stop "cancelled". `future.cancel()` (what asyncio does to a
    wrapped future) ends the work too, and the future is then cancelled.
    """

    request: Request
    client: str
    future: Future[Suggestion]
    _cancel: Cancel
    _on_text: OnText | None = None
    _withdraw: Callable[[Job], None] = field(default=lambda job: None, repr=False)

    def cancel(self) -> None:
        """End this request: at once when it still waits, within one token when it runs."""
        self._cancel.set()
        self._withdraw(self)


@dataclass
class _Call:
    """Something short to do with the engine on its thread, resolved through a future."""

    work: Callable[[Engine], Any]
    future: Future[Any]


class EngineThread:
    """Owns an engine made by `factory` on its own thread, lazily, and serves many clients.

    Thread-safe. A client has at most one request waiting and one running: submitting cancels both. Clients
    are served in the order in which each began to wait. An error (also of `factory`, which is tried
    again at the next request) resolves the one future concerned; the thread lives on.
    """

    def __init__(self, factory: Callable[[], Engine]) -> None:
        self._factory = factory
        self._engine: Engine | None = None
        self._calls: deque[_Call] = deque()
        self._waiting: OrderedDict[str, Job] = OrderedDict()
        self._running: Job | None = None
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
            self._changed.notify()
        if older is not None:
            _answer_cancelled(older)
        return job

    def plan(self, request: Request) -> Future[Plan]:
        """The prompt `request` would make; answered before waiting suggestions."""
        return self._call(lambda engine: engine.plan(request))

    def count(self, text: str) -> Future[int]:
        """Tokens of `text`."""
        return self._call(lambda engine: engine.count(text))

    def warm(self) -> Future[EngineInfo]:
        """Load now, and make what the first suggestion would wait for; resolves when ready."""
        return self._call(_warmed)

    def info(self) -> EngineInfo:
        """What is running; waits until it is loaded and raises what loading raised."""
        return self._call(lambda engine: engine.info).result()

    @property
    def busy(self) -> bool:
        """Whether anything runs or waits."""
        with self._changed:
            return bool(self._running or self._waiting or self._calls)

    def close(self) -> None:
        """Cancel what runs, fail what waits with EngineStopped, free the engine. Idempotent."""
        with self._changed:
            self._closed = True
            waiting: list[Job | _Call] = [*self._waiting.values(), *self._calls]
            self._waiting.clear()
            self._calls.clear()
            if self._running is not None:
                self._running._cancel.set()
            thread = self._thread
            self._changed.notify()
        for item in waiting:
            _fail(item.future, _stopped())
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def __enter__(self) -> EngineThread:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _call(self, work: Callable[[Engine], T]) -> Future[T]:
        future: Future[T] = Future()
        with self._changed:
            self._start()
            self._calls.append(_Call(work, future))
            self._changed.notify()
        return future

    def _start(self) -> None:
        """Raise when closed; else make sure the thread runs. Needs the lock."""
        if self._closed:
            raise _stopped()
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name="steerway-engine", daemon=True)
            self._thread.start()

    def _withdraw(self, job: Job) -> None:
        with self._changed:
            if self._waiting.get(job.client) is not job:
                return
            del self._waiting[job.client]
        _answer_cancelled(job)

    def _serve(self) -> None:
        while (item := self._next()) is not None:
            if isinstance(item, Job):
                self._suggest(item)
                with self._changed:
                    self._running = None
            else:
                self._do(item)
            # An idle thread must not keep the last request's documents, nor its callback, alive.
            del item
        if self._engine is not None:
            self._engine.close()
            self._engine = None

    def _next(self) -> Job | _Call | None:
        with self._changed:
            while not (self._closed or self._calls or self._waiting):
                self._changed.wait()
            if self._closed:
                return None
            if self._calls:
                return self._calls.popleft()
            _, self._running = self._waiting.popitem(last=False)
            return self._running

    def _suggest(self, job: Job) -> None:
        if job._cancel.is_set():
            _answer_cancelled(job)
            return
        _resolve(
            job.future,
            lambda: self._loaded().suggest(job.request, on_text=_until_cancelled(job), cancel=job._cancel),
        )

    def _do(self, call: _Call) -> None:
        _resolve(call.future, lambda: call.work(self._loaded()))

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


def _resolve(future: Future[Any], work: Callable[[], Any]) -> None:
    try:
        result = work()
    except BaseException as error:
        _fail(future, error)
    else:
        _settle(lambda: future.set_result(result))


def _fail(future: Future[Any], error: BaseException) -> None:
    _settle(lambda: future.set_exception(error))


def _answer_cancelled(job: Job) -> None:
    answer = Suggestion("", "cancelled", version=job.request.version)
    _settle(lambda: job.future.set_result(answer))


def _settle(resolve: Callable[[], None]) -> None:
    # The future stays pending while its request runs, so that asyncio can cancel it; it may have done so.
    try:
        resolve()
    except InvalidStateError:
        pass


def _stopped() -> EngineStopped:
    return EngineStopped("the engine was closed", hint="open it again to get suggestions")


@atexit.register
def _close_all() -> None:
    """A daemon thread inside native code while the interpreter goes away would crash it."""
    for thread in list(_open_threads):
        thread.close()
