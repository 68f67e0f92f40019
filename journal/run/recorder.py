"""One cell's output on its way: cleaned, said to the view, redacted, spooled, head and tail kept."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from journal.document import Cell
from journal.run.escapes import strip
from journal.run.redact import Redactor
from journal.run.result import Event, Output
from journal.run.spool import Spool
from journal.run.terminal import Chunk, Cleaner

HEAD_CHARS = 1 << 17
TAIL_CHARS = 1 << 18
_EVERY_S = 1 / 60
_EVENT_CHARS = 1 << 18


class Recorder:
    """Takes a cell's bytes; `finish` gives what is kept of them."""

    def __init__(
        self, cell: Cell, spool: Spool, on_event: Callable[[Event], None], size: tuple[int, int] = (24, 100)
    ) -> None:
        self._cell = cell
        self._spool = spool
        self._on_event = on_event
        self._cleaner = Cleaner(*size)
        self._redactor = Redactor()
        self._kept = HeadAndTail()
        self._waiting: list[str] = []
        self._waiting_chars = 0
        self._tail = ""
        self._said_tail = ""
        self._said_at = 0.0
        self.raw_bytes = 0

    def feed(self, data: bytes) -> None:
        """More output; b"" tells that nothing has come for a while."""
        if data:
            self.raw_bytes += len(data)
            self._take(self._cleaner.feed(data))
        self._say(at_once=not data)

    def _take(self, chunk: Chunk) -> None:
        if chunk.rewind:
            self._say(at_once=True)
            self._on_event(Output(self._cell, "", "", chunk.rewind))
            self._spool.rewind(chunk.rewind)
            self._kept.rewind(chunk.rewind)
        if chunk.text:
            self._waiting.append(chunk.text)
            self._waiting_chars += len(chunk.text)
            kept = self._redactor.feed(chunk.text)
            self._spool.write(kept)
            self._kept.add(kept)
        self._tail = chunk.tail

    def _say(self, *, at_once: bool) -> None:
        if not self._waiting and self._tail == self._said_tail:
            return
        now = time.monotonic()
        if not at_once and now - self._said_at < _EVERY_S and self._waiting_chars < _EVENT_CHARS:
            return
        text = "".join(self._waiting)
        self._waiting, self._waiting_chars = [], 0
        self._said_at, self._said_tail = now, self._tail
        self._on_event(Output(self._cell, text, self._tail))

    def finish(self) -> tuple[str, bool, Path]:
        """Plain text (head and tail), whether something of it was left out, and the file with all of it."""
        self._take(self._cleaner.finish())
        self._tail = ""
        self._say(at_once=True)
        text = self._kept.text()
        return text, self._kept.left_out > 0, self._spool.finish(self._kept.tail())


class HeadAndTail:
    """The first and the last part of a text of any length."""

    def __init__(self, head_chars: int = HEAD_CHARS, tail_chars: int = TAIL_CHARS) -> None:
        self._head_chars, self._tail_chars = head_chars, tail_chars
        self._head = ""
        self._tail = ""
        self._cut = 0

    def add(self, text: str) -> None:
        """Append."""
        room = self._head_chars - len(self._head)
        if room > 0 and not self._tail:
            self._head += text[:room]
            text = text[room:]
        if text:
            joined = self._tail + text
            self._tail = joined[-self._tail_chars :]
            self._cut += len(joined) - len(self._tail)

    def rewind(self, lines: int) -> None:
        """Take lines back from the end."""
        if self._tail and self._tail.count("\n") >= lines:
            self._tail = _without_last(self._tail, lines)
        elif not self._cut:
            self._head = _without_last(self._head + self._tail, lines)
            self._tail = ""

    @property
    def left_out(self) -> int:
        """Characters of the middle that are not kept."""
        return self._cut

    def tail(self) -> str:
        """The last part, plain."""
        return strip(self._tail)

    def text(self) -> str:
        """Both parts, plain, with a line between them that says what is left out."""
        if not self._cut:
            return strip(self._head + self._tail)
        cut = self._tail.find("\n") + 1
        gap = f"\n[... {self._cut + cut:,} characters left out ...]\n"
        return strip(self._head) + gap + strip(self._tail[cut:])


def _without_last(text: str, lines: int) -> str:
    parts = text.splitlines(keepends=True)
    return "".join(parts[: max(0, len(parts) - lines)])
