"""Changes to files as they happen: folders are watched, bursts become one call, equal contents none.

An editor saves by replacing the file, which ends a watch on the file itself; so the folder is watched.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from watchdog.observers.api import BaseObserver, ObservedWatch

DEBOUNCE_SECONDS = 0.1
LONGEST_WAIT_SECONDS = 0.5
_HASHED_BYTES = 8_000_000

OnChange = Callable[[frozenset[Path]], None]


class Watcher:
    """Calls `callback(paths)` from a thread of its own when watched files got other contents.

    A file that appears or goes away has changed as well. A burst of writes is one call, `debounce_seconds`
    after the last, and at the latest `LONGEST_WAIT_SECONDS` after the first. `problems` says what could not
    be watched; it is not an error.
    """

    def __init__(self, callback: OnChange, *, debounce_seconds: float = DEBOUNCE_SECONDS) -> None:
        self.problems: tuple[str, ...] = ()
        self._callback = callback
        self._debounce = debounce_seconds
        self._condition = threading.Condition()
        self._known: dict[Path, str] = {}
        self._touched: dict[Path, None] = {}
        self._first = self._last = 0.0
        self._closed = False
        self._watches: dict[Path, ObservedWatch] = {}
        self._observer: BaseObserver | None = None
        self._thread = threading.Thread(target=self._run, name="steerway-watch", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def watch(self, paths: Iterable[Path]) -> None:
        """Watch exactly these files from now on (they need not exist), against what they hold now."""
        wanted = [path.absolute() for path in paths]
        states = {path: _state(path) for path in wanted}
        with self._condition:
            if self._closed:
                return
            self._known = {path: self._known.get(path, state) for path, state in states.items()}
        self._observe({path.parent for path in wanted})

    def poke(self) -> None:
        """Look at every watched file now, as if each had been touched."""
        with self._condition:
            self._touch(*self._known)

    def close(self) -> None:
        """Stop, and wait until a running callback has returned. Idempotent."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()
            observer, self._observer = self._observer, None
        if observer is not None:
            observer.stop()
            observer.join()
        if self._thread is not threading.current_thread():
            self._thread.join()

    def _observe(self, folders: set[Path]) -> None:
        with self._condition:
            if self._closed:
                return
            if self._observer is None:
                from watchdog.observers import Observer

                self._observer = Observer()
                self._observer.start()
            observer = self._observer
            for gone in [folder for folder in self._watches if folder not in folders]:
                self._forget(observer, gone)
            self.problems = ()
            for folder in folders - set(self._watches):
                self._add(observer, folder)

    def _add(self, observer: BaseObserver, folder: Path) -> None:
        try:
            self._watches[folder] = observer.schedule(_handler(self._seen), str(folder))
        except OSError as error:  # no such folder, or the system's limit of watches
            self.problems = (*self.problems, f"{folder} cannot be watched ({error.strerror or error})")

    def _forget(self, observer: BaseObserver, folder: Path) -> None:
        try:
            observer.unschedule(self._watches.pop(folder))
        except (KeyError, OSError):  # the folder itself is gone
            pass

    def _seen(self, event: Any) -> None:
        paths = {Path(str(name)) for name in (event.src_path, getattr(event, "dest_path", "")) if name}
        with self._condition:
            self._touch(*(path for path in paths if path in self._known))

    def _touch(self, *paths: Path) -> None:
        """With the lock held: something happened to `paths`."""
        if not paths:
            return
        self._last = time.monotonic()
        self._first = self._first if self._touched else self._last
        self._touched.update(dict.fromkeys(paths))
        self._condition.notify_all()

    def _run(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._closed or self._touched)
                while not self._closed and (left := self._left()) > 0:
                    self._condition.wait(left)
                if self._closed:
                    return
                touched, self._touched = list(self._touched), {}
            changed = self._changed(touched)
            if changed:
                self._callback(changed)

    def _left(self) -> float:
        """Seconds until the burst counts as over."""
        now = time.monotonic()
        return min(self._last + self._debounce, self._first + LONGEST_WAIT_SECONDS) - now

    def _changed(self, touched: list[Path]) -> frozenset[Path]:
        states = {path: _state(path) for path in touched}
        with self._condition:
            changed = {path for path in states if path in self._known and self._known[path] != states[path]}
            self._known.update({path: states[path] for path in changed})
        return frozenset(changed)


def _handler(seen: Callable[[Any], None]) -> Any:
    from watchdog.events import FileSystemEventHandler

    class Handler(FileSystemEventHandler):
        def dispatch(self, event: Any) -> None:
            if event.event_type not in {"opened", "closed_no_write"}:
                seen(event)

    return Handler()


def _state(path: Path) -> str:
    """A hash of the contents, `""` for no file; of size and time where the contents are very large."""
    try:
        status = path.stat()
        if not path.is_file():
            return ""
        if status.st_size > _HASHED_BYTES:
            return f"{status.st_size} {status.st_mtime_ns}"
        return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
    except OSError:
        return ""
