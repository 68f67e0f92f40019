"""The narrow seam every back end implements and every front end uses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from engine.request import Cancel, Plan, Request, Suggestion

OnText = Callable[[str], None]


@dataclass(frozen=True)
class EngineInfo:
    """What is running: back end, model, its family, context size, and the patched features found.

    `reuse` is "documents" where documents are reused one by one, "prefix" where the prompt's beginning is, ""
    where the back end sees to it.
    """

    backend: str
    model: str
    family: str
    context_tokens: int
    threads: int = 0
    features: tuple[str, ...] = ()
    reuse: str = ""


class Engine(Protocol):
    """Fills holes. Not thread-safe by itself: `engine.runtime.worker.EngineThread` owns one."""

    @property
    def info(self) -> EngineInfo:
        """What is running."""
        ...

    def suggest(
        self, request: Request, *, on_text: OnText | None = None, cancel: Cancel | None = None
    ) -> Suggestion:
        """Fill the hole. `on_text` gets the whole text so far after each token; `cancel` ends it there."""
        ...

    def plan(self, request: Request) -> Plan:
        """What `suggest` would place before the hole, without running the model."""
        ...

    def count(self, text: str) -> int:
        """Tokens of `text`."""
        ...

    def prepare(self, request: Request, *, cancel: Cancel) -> int:
        """Do one bounded piece of what would make `request` faster (encode a document); 0: nothing is left.

        For idle time. Returns how many pieces are left, this one not counted; a piece that `cancel` ended
        loses nothing that was finished.
        """
        ...

    def status(self) -> dict[str, Any]:
        """What a person would ask: how documents are reused and why, what is cached, predicted and actual."""
        ...

    def close(self) -> None:
        """Free everything. Idempotent."""
        ...
