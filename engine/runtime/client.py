"""The other end of the engine's service: what `EngineThread` offers, over the socket."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from engine import errors
from engine.errors import EngineError, EngineStopped, SteerwayError
from engine.request import Cancel, Plan, Request, Suggestion
from engine.runtime import framing, launch, messages
from engine.runtime.address import Spec
from engine.runtime.base import EngineInfo, OnText
from engine.runtime.framing import BadFrame
from engine.runtime.job import Job, answer_cancelled, fail, settle, stopped
from engine.runtime.launch import Link
from engine.runtime.messages import ToClient

_TRIES = 2
_LISTEN_S = 5.0
_SILENT_S = 30.0
_LEAVE_S = 5.0


@dataclass(eq=False)
class _Question:
    """Something asked and not answered; its frame may have to be sent again, to the next service."""

    frame: bytearray
    future: Future[Any]
    job: Job | None = None
    text: str = ""
    sent: int = 0

    @property
    def cancelled(self) -> bool:
        """Whether nobody wants the answer any more."""
        return self.job is not None and self.job._cancel.is_set()


class EngineClient:
    """An engine in a process of its own, started on demand and again after a crash. Thread-safe.

    The public methods are `EngineThread`'s and do the same. `spec` says which engine is wanted, whenever a
    connection is made; what it raises (a model that is missing) is what the futures end with. A request that
    was under way when the service died is sent once more; dies that one too, its future fails with an
    EngineError. `name` is for `steerway engine status`. `on_wait` hears what takes time; it and `on_text` are
    called on the client's own thread.
    """

    def __init__(
        self,
        spec: Callable[[], Spec],
        *,
        name: str = "",
        on_wait: Callable[[str], None] = lambda message: None,
    ) -> None:
        self._spec = spec
        self._name = name
        self._on_wait = on_wait
        self._numbers = itertools.count(1)
        self._questions: dict[int, _Question] = {}
        self._preparing: dict[str, bytearray] = {}
        self._unprepared = False
        self._link: Link | None = None
        self._closed = False
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def submit(
        self,
        request: Request,
        *,
        on_text: OnText | None = None,
        client: str = "",
        cancel: Cancel | None = None,
    ) -> Job:
        """Queue `request`; an older one of the same `client` is cancelled. Raises EngineStopped when closed.

        `on_text` is called with the whole text so far, never after a cancel.
        """
        number = next(self._numbers)
        future: Future[Suggestion] = Future()
        job = Job(
            request, client, future, cancel or Cancel(), on_text, lambda job: self._withdraw(number, job)
        )
        future.add_done_callback(lambda done: job.cancel() if done.cancelled() else None)
        if cancel is not None:
            forget = cancel.listen(lambda: self._withdraw(number, job))
            future.add_done_callback(lambda _: forget())
        self._ask(messages.Submit(number, client, request, on_text is not None), future, job)
        return job

    def plan(self, request: Request) -> Future[Plan]:
        """The prompt `request` would make; answered before waiting suggestions."""
        future: Future[Plan] = Future()
        self._ask(messages.MakePlan(next(self._numbers), request), future)
        return future

    def count(self, text: str) -> Future[int]:
        """Tokens of `text`."""
        future: Future[int] = Future()
        self._ask(messages.Count(next(self._numbers), text), future)
        return future

    def warm(self) -> Future[EngineInfo]:
        """Load now, and make what the first suggestion would wait for; resolves when ready."""
        return self._load(warm=True)

    def load(self) -> Future[EngineInfo]:
        """What is running, once it is loaded."""
        return self._load(warm=False)

    def info(self) -> EngineInfo:
        """What is running; waits until it is loaded and raises what loading raised."""
        return self.load().result()

    def prepare(self, request: Request, *, client: str = "") -> None:
        """Encode in idle time what `request` would read; replaces what this `client` wanted prepared before.

        Raises EngineStopped when closed.
        """
        with self._changed:
            self._start()
            try:
                frame = framing.pack(messages.Prepare(client, request))
            except BadFrame:
                # The suggestion itself will say so.
                return
            self._preparing[client] = frame
            if self._link is None:
                self._unprepared = True
                self._changed.notify()
            else:
                self._send(frame)

    def drop(self, client: str) -> None:
        """Forget a `client` that is gone: cancel its requests and its idle work."""
        with self._changed:
            self._preparing.pop(client, None)
            if self._link is not None:
                self._send(framing.pack(messages.Drop(client)))
            jobs = self._jobs_of(client)
        for job in jobs:
            job.cancel()

    def status(self) -> dict[str, Any]:
        """`EngineThread.status` of the service, and the `service` itself."""
        future: Future[dict[str, Any]] = Future()
        self._ask(messages.Report(next(self._numbers)), future)
        return future.result()

    @property
    def busy(self) -> bool:
        """Whether an answer is still to come."""
        with self._changed:
            return bool(self._questions)

    def close(self) -> None:
        """Leave the service, which goes on for others; what waits fails with EngineStopped. Idempotent."""
        with self._changed:
            self._closed = True
            waiting = self._take_all()
            thread, link = self._thread, self._link
            if link is not None:
                link.shut()
            self._changed.notify()
        for question in waiting.values():
            fail(question.future, stopped())
        if thread is not None and thread is not threading.current_thread():
            thread.join(_LEAVE_S)

    def __enter__(self) -> EngineClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _load(self, *, warm: bool) -> Future[EngineInfo]:
        future: Future[EngineInfo] = Future()
        self._ask(messages.Load(next(self._numbers), warm), future)
        return future

    def _ask(self, message: Any, future: Future[Any], job: Job | None = None) -> None:
        with self._changed:
            self._start()
            try:
                question = _Question(framing.pack(message), future, job)
            except BadFrame as error:
                fail(future, error)
                return
            older = self._jobs_of(job.client) if job is not None else []
            self._questions[message.number] = question
            if self._link is None:
                self._changed.notify()
            else:
                question.sent += 1
                self._send(question.frame)
        # The service does this itself, but these must not go to the one that comes after it.
        for each in older:
            each.cancel()

    def _jobs_of(self, client: str) -> list[Job]:
        """Needs the lock."""
        jobs = [each.job for each in self._questions.values()]
        return [job for job in jobs if job is not None and job.client == client]

    def _withdraw(self, number: int, job: Job) -> None:
        with self._changed:
            if number not in self._questions:
                return
            if self._link is not None:
                self._send(framing.pack(messages.Withdraw(number)))
                return
            del self._questions[number]
        answer_cancelled(job)

    def _send(self, message: bytearray) -> None:
        """Needs the lock and a link. That a service is gone is the reading thread's business."""
        assert self._link is not None
        try:
            self._link.send(message)
        except OSError:
            self._link.shut()

    def _start(self) -> None:
        """Raise when closed; else make sure the thread runs. Needs the lock."""
        if self._closed:
            raise stopped()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="steerway-engine-client", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while self._wanted():
            try:
                link = launch.connect(self._spec(), name=self._name, on_wait=self._on_wait)
            except BaseException as error:
                self._fail_all(error)
                continue
            with link:
                self._serve(link)

    def _wanted(self) -> bool:
        """Wait until a connection is needed; False when this is closed."""
        with self._changed:
            while not (self._closed or self._questions or self._unprepared):
                self._changed.wait()
            return not self._closed

    def _serve(self, link: Link) -> None:
        """Send what waits, then read answers until the connection ends."""
        self._begin(link)
        reason: Exception = EOFError()
        try:
            self._read(link)
        except (OSError, EOFError, BadFrame) as error:
            reason = error
        self._end(reason)

    def _begin(self, link: Link) -> None:
        with self._changed:
            if self._closed:
                link.shut()
            self._link = link
            self._unprepared = False
            for question in self._questions.values():
                question.sent += 1
                self._send(question.frame)
            for frame in self._preparing.values():
                self._send(frame)

    def _read(self, link: Link) -> None:
        heard = time.monotonic()
        while True:
            message = link.receive(_LISTEN_S)
            if message is not None:
                heard = time.monotonic()
                self._take(message)
            elif not self.busy:
                heard = time.monotonic()
            elif time.monotonic() - heard > _SILENT_S:
                raise EOFError("the engine's process does not answer")
            else:
                with self._changed:
                    self._send(framing.pack(messages.Ping()))

    def _end(self, reason: Exception) -> None:
        """The connection is over: what was sent often enough fails, the rest is for the next one."""
        with self._changed:
            self._link = None
            waiting = self._take_all()
            for number, question in list(waiting.items()):
                if question.sent < _TRIES and not question.cancelled:
                    self._questions[number] = question
                    del waiting[number]
        for question in waiting.values():
            if question.job is not None and question.cancelled:
                answer_cancelled(question.job)
            else:
                fail(question.future, _died(reason))

    def _take(self, message: ToClient) -> None:
        match message:
            case messages.Text(number, kept, tail):
                self._grow(number, kept, tail)
            case messages.Failed():
                if question := self._pop(message.number):
                    fail(question.future, _raised(message))
            case messages.Bye():
                self._preparing.clear()
                self._fail_all(
                    EngineStopped("the engine was stopped", hint="the next request starts it again")
                )
            case messages.Refused(reason):
                self._fail_all(EngineError(f"the engine's process refuses: {reason}"))
            case messages.Welcome() | messages.Pong():
                pass
            case _:
                self._answer(message.number, message.result)

    def _answer(self, number: int, result: Any) -> None:
        if question := self._pop(number):
            settle(lambda: question.future.set_result(result))

    def _pop(self, number: int) -> _Question | None:
        with self._changed:
            return self._questions.pop(number, None)

    def _grow(self, number: int, kept: int, tail: str) -> None:
        with self._changed:
            question = self._questions.get(number)
        if question is None or question.job is None or question.job._on_text is None:
            return
        question.text = question.text[:kept] + tail
        if question.cancelled:
            return
        try:
            question.job._on_text(question.text)
        except BaseException as error:
            fail(question.future, error)
            question.job.cancel()

    def _take_all(self) -> dict[int, _Question]:
        """Needs the lock."""
        waiting, self._questions = self._questions, {}
        return waiting

    def _fail_all(self, error: BaseException) -> None:
        with self._changed:
            self._unprepared = False
            waiting = self._take_all()
        for question in waiting.values():
            fail(question.future, error)


def _raised(message: messages.Failed) -> SteerwayError:
    """The error as it would have been raised here."""
    kind = getattr(errors, message.kind, EngineError)
    if not (isinstance(kind, type) and issubclass(kind, SteerwayError)):
        kind = EngineError
    return kind(message.message, hint=message.hint, subject=message.subject or None)


def _died(reason: Exception) -> EngineError:
    said = str(reason) or "it ended"
    return EngineError(
        f"the engine's process failed twice at this request ({said})",
        hint="its log is in the state folder's `engine`; `--engine inline` works without it",
    )
