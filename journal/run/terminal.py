"""Raw terminal output to text that is safe to show: colours only, lines as a terminal would leave them.

Three levels, each only when the output asks for it: text and colours are passed in bulk; lines with
returns, backspaces or erasures are resolved one by one; cursor addressing across lines starts an emulator,
which is left again when enough plain text has scrolled it away.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass

from journal.run.escapes import (
    C1,
    DROPPED_BYTES,
    OTHER,
    OTHER_ESCAPE,
    UNFINISHED,
    is_alternate,
    keep_in_line,
    needs_screen,
)
from journal.run.line import SPECIAL, resolve, unfinished
from journal.run.screen import Screen

# A line without an end is handed on in pieces of this size, and a string escape longer than this is dropped.
_LONG_LINE = 1 << 16
_LONG_STRING = 1 << 12
_STRING_END = re.compile(r"\x07|\x1b\\|[\x18\x1a]|(?=[\n\x1b])")


@dataclass(frozen=True)
class Chunk:
    """What became of some output: take `rewind` lines back, append `text`, show `tail` after it for now."""

    text: str
    tail: str = ""
    rewind: int = 0


class Cleaner:
    """A stream of raw bytes in, a stream of `Chunk` out."""

    def __init__(self, rows: int = 24, columns: int = 100) -> None:
        self._rows, self._columns = rows, columns
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""
        self._in_string = False
        self._pending = ""
        self._recent = ""
        self._screen: Screen | None = None

    @property
    def full_screen(self) -> bool:
        """Whether a program has taken the whole screen."""
        return self._screen is not None and self._screen.full

    def feed(self, data: bytes) -> Chunk:
        """The next bytes."""
        text = self._decode(data)
        text = self._skip_string(text) if self._in_string else text
        if "\x1b" in text:
            text = self._hold_unfinished(text)
        if "\r\n" in text:
            text = text.replace("\r\n", "\n")
        return self._emulate(text) if self._screen else self._pass(text)

    def finish(self) -> Chunk:
        """The end: what was the tail becomes text."""
        text = self._decoder.decode(b"", final=True)
        if self._screen is None:
            line = resolve(self._pending + text)[0]
            self._pending = ""
            return Chunk(line)
        lines = self._screen.take() + self._screen.settled()
        self._screen = None
        return Chunk("".join(f"{line}\n" for line in lines))

    def _decode(self, data: bytes) -> str:
        text = self._held + self._decoder.decode(data.translate(None, DROPPED_BYTES))
        self._held = ""
        return text if text.isascii() or not C1.search(text) else C1.sub("", text)

    def _skip_string(self, text: str) -> str:
        end = _STRING_END.search(text)
        if end is None:
            return ""
        self._in_string = False
        return text[end.end() :]

    def _hold_unfinished(self, text: str) -> str:
        start = text.rfind("\x1b")
        before = text.rfind("\x1b", 0, start) if start == len(text) - 1 else -1
        for position in (before, start):
            if position >= 0 and UNFINISHED.match(text, position):
                self._held, text = text[position:], text[:position]
                break
        if len(self._held) > _LONG_STRING:
            self._in_string, self._held = True, ""
        return text

    def _pass(self, text: str) -> Chunk:
        if OTHER.search(text):
            for match in OTHER_ESCAPE.finditer(text):
                if needs_screen(match):
                    return self._start_screen(text, match)
            text = OTHER_ESCAPE.sub(keep_in_line, text)
        if "\x07" in text:
            text = text.replace("\x07", "")
        return self._lines(text)

    def _lines(self, text: str) -> Chunk:
        head, newline, rest = (self._pending + text).rpartition("\n")
        if _special(head):
            head = "\n".join(resolve(line)[0] if _special(line) else line for line in head.split("\n"))
        done = head + newline
        self._pending = unfinished(rest) if _special(rest.removesuffix("\r")) else rest
        if len(self._pending) > _LONG_LINE:
            done += resolve(self._pending)[0]
            self._pending = ""
        self._remember(done)
        return Chunk(done, resolve(self._pending)[0] if self._pending else "")

    def _remember(self, done: str) -> None:
        recent = (self._recent + done)[-_LONG_LINE:]
        cut = len(recent)
        for _ in range(self._rows):
            cut = recent.rfind("\n", 0, cut)
            if cut < 0:
                break
        self._recent = recent[cut + 1 :] if cut >= 0 else recent

    def _start_screen(self, text: str, match: re.Match[str]) -> Chunk:
        before = self._pass(text[: match.start()])
        lines = self._recent.splitlines(keepends=True)
        rewind = min(_lines_up(match), len(lines), self._rows - 1)
        self._screen = Screen(self._rows, self._columns)
        self._screen.feed("".join(lines[len(lines) - rewind :]) + self._pending)
        self._pending = self._recent = ""
        after = self._emulate(text[match.start() :])
        # Lines of this very piece need not be said and taken back.
        kept, said = before.text.splitlines(keepends=True), rewind
        while said and kept:
            kept.pop()
            said -= 1
        return Chunk("".join(kept) + after.text, after.tail, said)

    def _emulate(self, text: str) -> Chunk:
        screen = self._screen
        assert screen is not None
        if not screen.full and text.count("\n") > self._rows and not _has_moves(text):
            return self._leave_screen(screen, text)
        screen.feed(text)
        done = "".join(f"{line}\n" for line in screen.take())
        return Chunk(done, "\n".join(screen.shown()))

    def _leave_screen(self, screen: Screen, text: str) -> Chunk:
        first, _, rest = text.partition("\n")
        screen.feed(first)
        done = "".join(f"{line}\n" for line in screen.take() + screen.settled())
        self._screen = None
        self._remember(done)
        after = self._pass(rest)
        return Chunk(done + after.text, after.tail)


def _special(text: str) -> bool:
    # One character is found far faster than a pattern is.
    return "\r" in text or "\x08" in text or ("\x1b" in text and SPECIAL.search(text) is not None)


def _has_moves(text: str) -> bool:
    return any(needs_screen(match) or is_alternate(match) for match in OTHER_ESCAPE.finditer(text))


def _lines_up(match: re.Match[str]) -> int:
    if match["final"] in ("A", "F"):
        first = (match["args"] or "").split(";", 1)[0]
        return max(1, int(first)) if first.isdigit() else 1
    return 1 if match["short"] == "M" else 0


def clean(data: bytes) -> str:
    """All of `data` cleaned at once, colours kept."""
    cleaner = Cleaner()
    chunk = cleaner.feed(data)
    return chunk.text + cleaner.finish().text
