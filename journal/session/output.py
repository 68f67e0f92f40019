"""A cell's output as lines, as it comes: bounded, head and tail kept."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from journal.run.result import Output

HEAD_LINES = 1_000
TAIL_LINES = 4_000
LINE_CHARS = 4_000


@dataclass(frozen=True)
class Extract:
    """Some of an output: the first lines, how many are left out, the last lines; colours are SGR."""

    head: tuple[str, ...]
    hidden: int
    tail: tuple[str, ...]


class Lines:
    """Filled on the running thread, read by a view."""

    def __init__(self, text: str = "") -> None:
        self._lock = threading.Lock()
        self._head: list[str] = []
        self._rest: list[str] = []
        self._dropped = 0
        self._open = ""
        self._tail = ""
        self.version = 0
        if text:
            self._append(text)

    def take(self, event: Output) -> None:
        """One event of a run."""
        with self._lock:
            if event.rewind:
                self._rewind(event.rewind)
            self._append(event.text)
            self._tail = event.tail
            self.version += 1

    def _append(self, text: str) -> None:
        if not text:
            return
        *whole, rest = (self._open + text).split("\n")
        self._open = rest[-LINE_CHARS:]
        room = max(0, HEAD_LINES - len(self._head))
        self._head += [line[:LINE_CHARS] for line in whole[:room]]
        self._rest += [line[:LINE_CHARS] for line in whole[room:][-TAIL_LINES:]]
        self._dropped += max(0, len(whole) - room - TAIL_LINES)
        if len(self._rest) > 2 * TAIL_LINES:
            self._dropped += len(self._rest) - TAIL_LINES
            del self._rest[:-TAIL_LINES]

    def _rewind(self, lines: int) -> None:
        for source in (self._rest, self._head):
            taken = min(lines, len(source))
            del source[len(source) - taken :]
            lines -= taken

    def extract(self, most: int) -> Extract:
        """At most `most` lines: all of them, or some of the head and more of the tail."""
        with self._lock:
            last = (self._open + self._tail).split("\n") if self._open or self._tail else []
            end = [*self._rest, *last]
            total = len(self._head) + self._dropped + len(end)
            if total <= most and not self._dropped:
                return Extract((*self._head, *end), 0, ())
            behind = end if self._dropped else [*self._head, *end]
            first = self._head[: max(1, most // 4)]
            tail = behind[max(0, len(behind) - most + len(first)) :]
            return Extract(tuple(first), total - len(first) - len(tail), tuple(tail))

    def text(self) -> str:
        """All that is kept."""
        extract = self.extract(HEAD_LINES + 2 * TAIL_LINES)
        gap = (f"[... {extract.hidden} lines left out ...]",) if extract.hidden else ()
        return "\n".join((*extract.head, *gap, *extract.tail))

    def __len__(self) -> int:
        with self._lock:
            return len(self._head) + self._dropped + len(self._rest) + bool(self._open or self._tail)
