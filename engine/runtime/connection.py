"""One client of the engine's service: its messages in, its answers out."""

from __future__ import annotations

import asyncio
import dataclasses
import math
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, Protocol

from engine.errors import EngineStopped, SteerwayError, UsageError
from engine.request import Request
from engine.runtime import framing, messages
from engine.runtime.framing import BadFrame
from engine.runtime.job import Job
from engine.runtime.messages import ToClient, ToService
from engine.runtime.worker import EngineThread

_MAX_PARTS = 64
_MAX_PART_CHARACTERS = 200
_MAX_ASKED = 256
# A client that does not read what it asked for is let go; one that reads slowly misses texts in between.
_MAX_UNREAD_BYTES = 64 * 2**20
_SKIPPING_UNREAD_BYTES = 2**20
_MOST_TOKENS = 2**20


class House(Protocol):
    """What a connection needs of the service around it."""

    thread: EngineThread

    def welcome(self) -> messages.Welcome:
        """Who answers here."""
        ...

    async def report(self) -> dict[str, Any]:
        """Where everything stands."""
        ...

    def worked(self) -> None:
        """Somebody asked for something."""
        ...

    def stop(self) -> None:
        """End the service."""
        ...


class Connection:
    """Serves one client until it leaves. All methods but futures' callbacks belong to the event loop."""

    def __init__(
        self, number: int, greeting: messages.Hello, house: House, writer: asyncio.StreamWriter
    ) -> None:
        self.name = greeting.name
        self.pid = greeting.pid
        self.parts: dict[str, int] = {}
        self._since = time.monotonic()
        self._number = number
        self._house = house
        self._writer = writer
        self._loop = asyncio.get_running_loop()
        self._jobs: dict[int, Job] = {}
        self._asked: set[int] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader) -> None:
        """Answer until the end of the stream. Raises BadFrame, OSError, EOFError."""
        self.send(self._house.welcome())
        while True:
            message = framing.to_service(await read(reader))
            self._take(message)
            await self._writer.drain()

    def leave(self) -> None:
        """The client is gone: nothing more is done for it."""
        for part in self.parts:
            self._house.thread.drop(self._client(part))
        for task in self._tasks:
            task.cancel()

    def send(self, message: ToClient) -> None:
        """Put `message` on its way."""
        if self._writer.is_closing():
            return
        try:
            frame = framing.pack(message)
        except BadFrame as error:
            frame = framing.pack(_failed(getattr(message, "number", 0), error))
        if self._unread + len(frame) > _MAX_UNREAD_BYTES:
            self._writer.transport.abort()
        else:
            self._writer.write(frame)

    async def flushed(self) -> None:
        """Wait until everything sent was read, then close."""
        await self._writer.drain()
        self._writer.close()
        await self._writer.wait_closed()

    def report(self) -> dict[str, Any]:
        """Itself as JSON."""
        return {
            "name": self.name,
            "pid": self.pid,
            "seconds": round(time.monotonic() - self._since, 1),
            "parts": dict(self.parts),
            "waiting": len(self._asked),
        }

    @property
    def _unread(self) -> int:
        return self._writer.transport.get_write_buffer_size()

    def _client(self, part: str) -> str:
        return f"{self._number}:{self.name}:{part}"

    def _take(self, message: ToService) -> None:
        match message:
            case messages.Ping():
                self.send(messages.Pong())
            case messages.Stop():
                self._house.stop()
            case messages.Withdraw(number):
                if job := self._jobs.get(number):
                    job.cancel()
            case messages.Drop(part):
                self.parts.pop(part, None)
                self._house.thread.drop(self._client(part))
            case messages.Prepare(part, request):
                self._prepare(part, request)
            case messages.Report(number):
                self._later(number, self._house.report())
            case messages.Hello():
                raise BadFrame("a second greeting")
            case _:
                self._ask(message)

    def _prepare(self, part: str, request: Request) -> None:
        try:
            self._house.worked()
            self._house.thread.prepare(checked(request), client=self._known(part))
        except (UsageError, EngineStopped):
            # The suggestion itself will say so.
            pass

    def _ask(self, message: messages.Submit | messages.MakePlan | messages.Count | messages.Load) -> None:
        number, thread = message.number, self._house.thread
        self._house.worked()
        if number in self._asked or len(self._asked) >= _MAX_ASKED:
            raise BadFrame(f"question {number} again, or too many at once")
        self._asked.add(number)
        try:
            match message:
                case messages.Submit():
                    self._submit(message)
                case messages.MakePlan():
                    self._answer(number, thread.plan(checked(message.request)), messages.Planned)
                case messages.Count():
                    self._answer(number, thread.count(message.text), messages.Counted)
                case messages.Load():
                    future = thread.warm() if message.warm else thread.load()
                    self._answer(number, future, messages.Loaded)
        except SteerwayError as error:
            self._asked.discard(number)
            self.send(_failed(number, error))

    def _submit(self, message: messages.Submit) -> None:
        texts = _Texts(self, message.number, self._loop) if message.streams else None
        client = self._known(message.client)
        self.parts[message.client] += 1
        job = self._house.thread.submit(
            checked(message.request), on_text=texts.grow if texts else None, client=client
        )
        self._jobs[message.number] = job
        self._answer(message.number, job.future, messages.Answered)

    def _known(self, part: str) -> str:
        if (part not in self.parts and len(self.parts) >= _MAX_PARTS) or len(part) > _MAX_PART_CHARACTERS:
            raise UsageError("too many or too long names of clients", hint="use fewer")
        self.parts.setdefault(part, 0)
        return self._client(part)

    def _answer(self, number: int, future: Future[Any], wrap: Callable[[int, Any], ToClient]) -> None:
        future.add_done_callback(lambda done: _post(self._loop, lambda: self._done(number, done, wrap)))

    def _done(self, number: int, done: Future[Any], wrap: Callable[[int, Any], ToClient]) -> None:
        self._asked.discard(number)
        self._jobs.pop(number, None)
        self._house.worked()
        error = done.exception()
        self.send(wrap(number, done.result()) if error is None else _failed(number, error))

    def _later(self, number: int, report: Coroutine[Any, Any, dict[str, Any]]) -> None:
        async def answer() -> None:
            try:
                self.send(messages.Reported(number, await report))
            except Exception as error:
                self.send(_failed(number, error))

        task = self._loop.create_task(answer())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def text(self, number: int, kept: int, tail: str) -> bool:
        """Send what was added to a suggestion; False when the client is behind with its reading."""
        if number not in self._jobs or self._unread > _SKIPPING_UNREAD_BYTES:
            return False
        self.send(messages.Text(number, kept, tail))
        return True


class _Texts:
    """A growing text, sent as what was added. Called on the engine's thread; sends on the event loop."""

    def __init__(self, connection: Connection, number: int, loop: asyncio.AbstractEventLoop) -> None:
        self._connection = connection
        self._number = number
        self._loop = loop
        self._newest = self._sent = ""
        self._scheduled = False

    def grow(self, text: str) -> None:
        self._newest = text
        if not self._scheduled:
            self._scheduled = True
            _post(self._loop, self._send)

    def _send(self) -> None:
        self._scheduled = False
        text = self._newest
        kept = len(self._sent) if text.startswith(self._sent) else 0
        if text != self._sent and self._connection.text(self._number, kept, text[kept:]):
            self._sent = text


async def read(reader: asyncio.StreamReader, *, limit: int = framing.MAX_FRAME_BYTES) -> bytes:
    """The next message's bytes. Raises BadFrame before reading one that is too long."""
    size = framing.length(await reader.readexactly(framing.LENGTH.size), limit=limit)
    return await reader.readexactly(size)


def checked(request: Request) -> Request:
    """`request`, when its numbers are such as a front end would send. Raises UsageError."""
    for field in dataclasses.fields(request):
        value = getattr(request, field.name)
        number = isinstance(value, int | float) and field.name not in ("version", "seed")
        if number and not (math.isfinite(value) and 0 <= value <= _MOST_TOKENS * 1000):
            raise UsageError(f"{field.name} is {value}", hint="it must not be negative, nor beyond reason")
    if not 1 <= request.max_tokens <= _MOST_TOKENS:
        raise UsageError(f"max_tokens is {request.max_tokens}", hint="ask for at least one token")
    if not -(2**63) <= request.seed < 2**63:
        raise UsageError(f"seed is {request.seed}", hint="it must fit into 64 bits")
    return request


def _failed(number: int, error: BaseException) -> messages.Failed:
    if isinstance(error, SteerwayError):
        subject = "" if error.subject is None else str(error.subject)
        return messages.Failed(number, type(error).__name__, error.message, error.hint, subject)
    return messages.Failed(number, "EngineError", f"{type(error).__name__}: {error}")


def _post(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    try:
        loop.call_soon_threadsafe(call)
    except RuntimeError:
        # The loop is closed: the service is ending, and its clients know.
        pass
