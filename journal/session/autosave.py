"""The recovery log: unsaved text is on disk within a second of being typed, and gone when it is saved."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from journal import recovery

DELAY_SECONDS = 0.4


class Autosave:
    """Keeps the newest unsaved version of one file in a recovery copy, written on a thread of its own.

    `note` is cheap and may be called at every keystroke: the first call after a write starts the delay, so
    nothing older than `DELAY_SECONDS` plus one write is ever lost.
    """

    def __init__(self, path: Path, *, delay_seconds: float = DELAY_SECONDS) -> None:
        self._path = path
        self._delay = delay_seconds
        self._condition = threading.Condition()
        self._wanted: Callable[[], bytes] | None = None
        self._kept: bytes | None = None
        self._closed = False
        self._thread: threading.Thread | None = None
        self.copy: Path | None = None

    def note(self, version: Callable[[], bytes]) -> None:
        """`version()` (called later, elsewhere) is what must not be lost."""
        with self._condition:
            if self._closed:
                return
            self._wanted = version
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="steerway-autosave", daemon=True)
                self._thread.start()
            self._condition.notify()

    def clear(self) -> None:
        """Everything is saved, or was given up: no copy is needed."""
        with self._condition:
            self._wanted = None
            self._drop()

    def leave(self) -> None:
        """The text was given up, its copy was not: `clear` removes nothing that was written before."""
        with self._condition:
            self._wanted = self._kept = self.copy = None

    def close(self) -> None:
        """Write what is waiting, then stop. A copy that is needed stays."""
        with self._condition:
            self._closed = True
            self._condition.notify()
            thread = self._thread
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        with self._condition:
            while True:
                self._condition.wait_for(lambda: self._closed or self._wanted)
                if not self._closed:
                    self._condition.wait_for(lambda: self._closed, self._delay)
                if self._wanted is not None:
                    self._keep(self._wanted)
                    self._wanted = None
                if self._closed:
                    return

    def _keep(self, version: Callable[[], bytes]) -> None:
        data = version()
        if data == self._kept:
            return
        copy = recovery.keep(self._path, data)
        if copy is not None:
            self._drop()
            self._kept, self.copy = data, copy

    def _drop(self) -> None:
        if self._kept is not None:
            recovery.drop(self._path, self._kept)
            self._kept = self.copy = None
