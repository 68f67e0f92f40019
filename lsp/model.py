"""The engine behind the server: where its loading stands, and the door to its thread."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Literal

from engine.errors import SteerwayError
from engine.request import Request
from engine.runtime.base import EngineInfo
from engine.runtime.job import Job, Serving

State = Literal["idle", "loading", "ready", "failed"]

_RETRY_S = 5.0
_CLIENT = "editor"


class Model:
    """Loads on `start`, off the event loop, and serves afterwards; a failed load is tried again when asked.

    `error` is what the last try failed with, also while the next one runs.

    All methods belong to the event loop. `on_change` is called there whenever `state` changes.
    """

    def __init__(self, engine: Serving, on_change: Callable[[], None]) -> None:
        self._engine = engine
        self._on_change = on_change
        self._tried_at = -_RETRY_S
        self.state: State = "idle"
        self.info: EngineInfo | None = None
        self.error: BaseException | None = None

    @property
    def name(self) -> str:
        """The model that runs, empty until it does."""
        return self.info.model if self.info else ""

    @property
    def why_not(self) -> str:
        """Why no request can be served now; empty when one can."""
        if self.state == "ready":
            return ""
        if self.error is not None:
            return f"the model does not load: {explain(self.error)}"
        return "the model is still loading"

    def start(self) -> None:
        """Begin to load, unless that is done or under way; after a failure, not more often than each 5 s."""
        if self.state in ("loading", "ready") or time.monotonic() - self._tried_at < _RETRY_S:
            return
        self._tried_at = time.monotonic()
        self._become("loading")
        loop = asyncio.get_running_loop()
        self._engine.warm().add_done_callback(lambda done: _post(loop, self._loaded, done))

    def submit(self, request: Request) -> Job:
        """Queue `request`; it ends the one before. Raises EngineStopped when closed."""
        return self._engine.submit(request, client=_CLIENT)

    def prepare(self, request: Request) -> None:
        """Let the engine encode in idle time what `request` would read. Raises EngineStopped."""
        self._engine.prepare(request, client=_CLIENT)

    def close(self) -> None:
        """End what runs and let the model go. Idempotent."""
        self._engine.close()

    def _loaded(self, done: Future[EngineInfo]) -> None:
        if done.cancelled():
            return
        self.error = done.exception()
        if self.error is None:
            self.info = done.result()
        self._become("failed" if self.error else "ready")

    def _become(self, state: State) -> None:
        self.state = state
        self._on_change()


def explain(error: BaseException | None) -> str:
    """One line for a person."""
    return str(error) if isinstance(error, SteerwayError) else f"{type(error).__name__}: {error}"


def _post(loop: asyncio.AbstractEventLoop, call: Callable[..., None], done: Future[EngineInfo]) -> None:
    try:
        loop.call_soon_threadsafe(call, done)
    except RuntimeError:
        # The loop is closed: the server is gone and nobody waits for the model.
        pass
