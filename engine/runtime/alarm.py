"""Ends a decode from outside: on a cancel, or when the time is up."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType

from engine.request import Cancel


class Alarm:
    """While entered, calls `abort(True)` once when `cancel` is set or `budget_ms` is over.

    On leaving, `abort(False)`: nothing that fires late can reach the next request.
    """

    def __init__(self, abort: Callable[[bool], None], cancel: Cancel, *, budget_ms: float | None) -> None:
        self._abort = abort
        self._cancel = cancel
        self._lock = threading.Lock()
        self._armed = False
        self._started = time.monotonic()
        self._budget_ms = budget_ms or None
        self._timer: threading.Timer | None = None
        self._forget: Callable[[], None] = lambda: None

    @property
    def cancelled(self) -> bool:
        """Whether the end was asked for."""
        return self._cancel.is_set()

    @property
    def late(self) -> bool:
        """Whether the time is up."""
        return self._budget_ms is not None and self.elapsed_ms >= self._budget_ms

    @property
    def elapsed_ms(self) -> float:
        """Milliseconds since this alarm was made."""
        return (time.monotonic() - self._started) * 1000

    def __enter__(self) -> Alarm:
        self._armed = True
        self._forget = self._cancel.listen(self._ring)
        if self._budget_ms is not None:
            self._timer = threading.Timer(max(0.0, self._budget_ms - self.elapsed_ms) / 1000, self._ring)
            self._timer.daemon = True
            self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._forget()
        if self._timer is not None:
            self._timer.cancel()
            self._timer.join()
        with self._lock:
            self._armed = False
            self._abort(False)

    def _ring(self) -> None:
        with self._lock:
            if self._armed:
                self._abort(True)
