"""Output events on a stream: drawn over in place on a terminal, appended as plain lines elsewhere."""

from __future__ import annotations

import shutil
from typing import TextIO

from journal.run.escapes import strip
from journal.run.redact import Redactor
from journal.run.result import Output


class Live:
    """Writes one cell's `Output` events after the other; secrets are redacted on the way."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._terminal = out.isatty()
        self._redactor = Redactor()
        self._tail = ""
        self._open_line = False

    def start(self) -> None:
        """A cell begins."""
        self.end()
        self._redactor = Redactor()

    def show(self, event: Output) -> None:
        """What came."""
        text = self._redactor.feed(event.text)
        if self._terminal:
            self._draw(text, event)
        else:
            self._write(strip(text))

    def _draw(self, text: str, event: Output) -> None:
        if event.tail == self._tail and not text and not event.rewind:
            return
        up = self._tail.count("\n") + event.rewind
        erase = "\r" + (f"\x1b[{up}A" if up else "") + "\x1b[J" if self._tail or up else ""
        tail = _clipped(event.tail)
        self._write(erase + text + tail + ("\x1b[0m" if "\x1b" in tail else ""))
        self._tail = tail

    def end(self) -> None:
        """The cell ended: what follows begins on a line of its own."""
        if self._open_line:
            self._write("\n")
        self._tail = ""

    def _write(self, text: str) -> None:
        if not text:
            return
        self._out.write(text)
        self._out.flush()
        plain = strip(text)
        self._open_line = not plain.endswith("\n") and bool(plain.strip("\r") or self._open_line)


def _clipped(tail: str) -> str:
    """The tail with no line longer than the terminal is wide, so that it can be drawn over."""
    width, height = shutil.get_terminal_size()
    lines = tail.split("\n")[-max(1, height - 1) :]
    return "\n".join(line if len(strip(line)) < width else strip(line)[: width - 1] for line in lines)
