"""The shared engine as an `Engine`, for commands that ask one thing and leave."""

from __future__ import annotations

from typing import Any

from engine.request import Cancel, Plan, Request, Suggestion
from engine.runtime.base import EngineInfo, OnText
from engine.runtime.client import EngineClient


class SharedEngine:
    """Every call waits for the service's answer. `close` leaves the service running."""

    def __init__(self, client: EngineClient) -> None:
        self._client = client

    @property
    def info(self) -> EngineInfo:
        """What is running."""
        return self._client.info()

    def suggest(
        self, request: Request, *, on_text: OnText | None = None, cancel: Cancel | None = None
    ) -> Suggestion:
        """Fill the hole. `on_text` is called on another thread."""
        job = self._client.submit(request, on_text=on_text, cancel=cancel)
        try:
            return job.future.result()
        finally:
            if not job.future.done():
                job.cancel()

    def plan(self, request: Request) -> Plan:
        """What `suggest` would place before the hole."""
        return self._client.plan(request).result()

    def count(self, text: str) -> int:
        """Tokens of `text`."""
        return self._client.count(text).result()

    def prepare(self, request: Request, *, cancel: Cancel) -> int:
        """The service does it in its own idle time: 0."""
        self._client.prepare(request)
        return 0

    def status(self) -> dict[str, Any]:
        """What the service says of itself and of its engine."""
        return self._client.status()

    def close(self) -> None:
        """Leave. Idempotent."""
        self._client.close()
