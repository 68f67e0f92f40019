"""What an engine's thread has done since it began: counts, and predicted against actual times."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

from engine.request import Suggestion

_KEPT = 32


class Tally:
    """Counts of requests, of idle work and of tokens. Not thread-safe: its owner has the lock."""

    def __init__(self) -> None:
        self._since = time.time()
        self._requests = self._cancelled = self._failed = self._pieces = self._preempted = 0
        self._tokens = dict.fromkeys(("computed", "reused", "loaded", "generated"), 0)
        self._first_token_ms: deque[tuple[float, float]] = deque(maxlen=_KEPT)
        self._idle_error = ""

    def answered(self, suggestion: Suggestion) -> None:
        """A request ran to its end, or to its cancel."""
        self._requests += 1
        self._cancelled += suggestion.stop == "cancelled"
        for name in self._tokens:
            self._tokens[name] += int(getattr(suggestion, f"tokens_{name}"))
        if suggestion.first_token_ms:
            self._first_token_ms.append((suggestion.predicted_ms, suggestion.first_token_ms))

    def withdrawn(self) -> None:
        """A request was cancelled before it ran."""
        self._requests += 1
        self._cancelled += 1

    def failed(self) -> None:
        """A request ended with an error."""
        self._requests += 1
        self._failed += 1

    def piece(self, *, preempted: bool = False, error: BaseException | None = None) -> None:
        """A piece of idle work ended."""
        self._pieces += 1
        self._preempted += preempted
        if error is not None:
            self._idle_error = f"{type(error).__name__}: {error}"

    def report(self) -> dict[str, Any]:
        """All of it, as JSON. `first_token_ms` holds [predicted, actual] of the last requests."""
        found: dict[str, Any] = {
            "since": self._since,
            "requests": self._requests,
            "cancelled": self._cancelled,
            "failed": self._failed,
            "tokens": dict(self._tokens),
            "idle_pieces": self._pieces,
            "idle_preempted": self._preempted,
            "first_token_ms": [[round(p, 1), round(a, 1)] for p, a in self._first_token_ms],
        }
        return found | ({"idle_error": self._idle_error} if self._idle_error else {})
