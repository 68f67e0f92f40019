r"""A file's text as an editor sees it: lines, positions in the editor's units, and changes.

Lines end at `\n`, `\r\n` or `\r` and nowhere else (LSP 3.18, "Text Documents"): `str.splitlines`, which
also splits at form feeds and U+2028, would move every position below one. Offsets count code points.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

Encoding = Literal["utf-8", "utf-16", "utf-32"]

_LINE_END = re.compile(r"\r\n|\n|\r")
_LONE_SURROGATE = re.compile(r"[\ud800-\udfff]")


@dataclass(frozen=True)
class Text:
    """One version of a file's text. A position outside it means the nearest one inside, never an error."""

    value: str

    @cached_property
    def _starts(self) -> list[int]:
        return [0, *(match.end() for match in _LINE_END.finditer(self.value))]

    @property
    def line_count(self) -> int:
        """Lines, the empty one after a final line end included."""
        return len(self._starts)

    @cached_property
    def line_end(self) -> str:
        r"""The first line end used, `\n` when there is none."""
        match = _LINE_END.search(self.value)
        return match.group() if match else "\n"

    def line(self, number: int) -> str:
        """Line `number` (from 0) without its end."""
        start = self._starts[number]
        stop = self._starts[number + 1] if number + 1 < self.line_count else len(self.value)
        return self.value[start:stop].rstrip("\r\n")

    def offset(self, line: int, character: int, encoding: Encoding) -> int:
        """The offset of a position whose `character` counts units of `encoding`.

        Past the end of the line is its end, past the last line the end of the file; inside a character is
        before it.
        """
        if line >= self.line_count:
            return len(self.value)
        line = max(line, 0)
        return self._starts[line] + _column(self.line(line), character, encoding)

    def position(self, offset: int, encoding: Encoding) -> tuple[int, int]:
        """Line and character (in units of `encoding`) of an offset."""
        offset = min(max(offset, 0), len(self.value))
        line = bisect_right(self._starts, offset) - 1
        return line, units(self.value[self._starts[line] : offset], encoding)

    def changed(self, start: tuple[int, int], end: tuple[int, int], new: str, encoding: Encoding) -> Text:
        """The text with what lies between two positions replaced by `new`."""
        first, last = self.offset(*start, encoding), self.offset(*end, encoding)
        return Text(self.value[:first] + new + self.value[max(first, last) :])

    def around(self, start: int, end: int) -> tuple[str, str]:
        r"""What lies before `start` and after `end`, lines ending in `\n`, as a model wants to read it."""
        return for_model(self.value[:start]), for_model(self.value[end:])


def units(text: str, encoding: Encoding) -> int:
    """How many units of `encoding` `text` takes."""
    if encoding == "utf-32" or text.isascii():
        return len(text)
    return sum(_width(char, encoding) for char in text)


def for_model(text: str) -> str:
    r"""`text` with lines ending in `\n` and lone surrogates (which no tokenizer takes) replaced."""
    if "\r" in text:
        text = _LINE_END.sub("\n", text)
    return text if text.isascii() else _LONE_SURROGATE.sub("\ufffd", text)


def _column(line: str, character: int, encoding: Encoding) -> int:
    if encoding == "utf-32" or line.isascii():
        return min(max(character, 0), len(line))
    for column, char in enumerate(line):
        character -= _width(char, encoding)
        if character < 0:
            return column
    return len(line)


def _width(char: str, encoding: Encoding) -> int:
    point = ord(char)
    if encoding == "utf-16":
        return 1 + (point > 0xFFFF)
    return 1 + (point > 0x7F) + (point > 0x7FF) + (point > 0xFFFF)
