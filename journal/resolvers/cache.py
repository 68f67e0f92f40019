"""Answers kept for as long as the files they were read from stay as they are."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Hashable
from pathlib import Path
from typing import Generic, TypeVar

# A file this young can change again without its time changing (coarse clocks), so nothing is kept of it.
YOUNG_NS = 50_000_000

T = TypeVar("T")


class Cache(Generic[T]):
    """At most `size` answers, the least recently used goes first. Safe between threads."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._kept: OrderedDict[Hashable, T] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> T | None:
        """The answer, None when there is none (any more)."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, key: Hashable, answer: T) -> T:
        """Keep an answer, and give it back."""
        with self._lock:
            self._kept[key] = answer
            while len(self._kept) > self._size:
                self._kept.popitem(last=False)
        return answer


def signature(path: Path) -> tuple[int, ...] | None:
    """What changes when a file does; None for one that is missing or too young to tell."""
    try:
        status = path.stat()
    except OSError:
        return None
    if abs(time.time_ns() - status.st_mtime_ns) < YOUNG_NS:
        return None
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino
