"""A request on its way: its future, how to end it early, and how futures are resolved."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field
from typing import Any, Protocol

from engine.errors import EngineStopped
from engine.request import Cancel, Plan, Request, Suggestion
from engine.runtime.base import Engine, EngineInfo, OnText


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
class Call:
    """Something short to do with the engine on its thread, resolved through a future."""

    work: Callable[[Engine], Any]
    future: Future[Any]


class Serving(Protocol):
    """An engine that serves many clients: `EngineThread` in this process, `EngineClient` in its own."""

    def submit(
        self,
        request: Request,
        *,
        on_text: OnText | None = None,
        client: str = "",
        cancel: Cancel | None = None,
    ) -> Job:
        """Queue `request`; an older one of the same `client` is cancelled."""
        ...

    def plan(self, request: Request) -> Future[Plan]:
        """The prompt `request` would make."""
        ...

    def count(self, text: str) -> Future[int]:
        """Tokens of `text`."""
        ...

    def warm(self) -> Future[EngineInfo]:
        """Load now."""
        ...

    def load(self) -> Future[EngineInfo]:
        """What is running, once it is loaded."""
        ...

    def info(self) -> EngineInfo:
        """What is running; waits for it."""
        ...

    def prepare(self, request: Request, *, client: str = "") -> None:
        """Encode in idle time what `request` would read."""
        ...

    def drop(self, client: str) -> None:
        """Forget a `client` that is gone."""
        ...

    def status(self) -> dict[str, Any]:
        """What it does and did, as JSON."""
        ...

    @property
    def busy(self) -> bool:
        """Whether anything runs or waits."""
        ...

    def close(self) -> None:
        """End, or leave. Idempotent."""
        ...


def resolve(future: Future[Any], work: Callable[[], Any]) -> None:
    try:
        result = work()
    except BaseException as error:
        fail(future, error)
    else:
        settle(lambda: future.set_result(result))


def fail(future: Future[Any], error: BaseException) -> None:
    settle(lambda: future.set_exception(error))


def answer_cancelled(job: Job) -> None:
    settle(lambda: job.future.set_result(cancelled(job)))


def cancelled(job: Job) -> Suggestion:
    return Suggestion("", "cancelled", version=job.request.version)


def settle(resolve: Callable[[], None]) -> None:
    # The future stays pending while its request runs, so that asyncio can cancel it; it may have done so.
    try:
        resolve()
    except InvalidStateError:
        pass


def stopped() -> EngineStopped:
    return EngineStopped("the engine was closed", hint="open it again to get suggestions")
