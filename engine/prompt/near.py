"""What is computed in place: the lines before the cursor, the rest of its line, and where units can be cut.

Where the near lines begin depends on what is above the cursor's line only: typing on the line moves nothing.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

Encode = Callable[[str], list[int]]
Piece = Callable[[int], bytes]

# Part of the near tokens that is left to the cursor's own line.
LINE_SHARE = 0.25
# Of a line longer than twice this, on either side, what is near begins or ends at a multiple of it.
STEP_CHARACTERS = 240
_MOST_LINES = 64
_BLANK_LINES = re.compile(r"(?:[^\S\n]*\n)+")


@dataclass(frozen=True)
class Near:
    """Offsets in the file's text: where near lines begin, the cursor's line, the cursor, where they end."""

    begin: int
    line: int
    cursor: int
    end: int


def near(text: str, cursor: int, tokens: int, encode: Encode) -> Near:
    """The lines above the cursor's that fit into most of `tokens`, its line, and the rest of it.

    They begin at a line with something on it. When none fits, the blank lines above belong to them, as those
    below always do, since a tokenizer may join blank lines with what is typed next to them.
    """
    line = text.rfind("\n", 0, cursor) + 1
    end = text.find("\n", cursor) + 1 or len(text)
    if end - cursor > 2 * STEP_CHARACTERS:
        end = cursor + STEP_CHARACTERS
    elif blank := _BLANK_LINES.match(text, end, end + STEP_CHARACTERS):
        end = blank.end()
    column = cursor - line
    if column > 2 * STEP_CHARACTERS:
        return Near(line + (column // STEP_CHARACTERS - 1) * STEP_CHARACTERS, line, cursor, end)
    return Near(_begin(text, line, tokens - int(tokens * LINE_SHARE), encode), line, cursor, end)


def _begin(text: str, line: int, tokens: int, encode: Encode) -> int:
    begin = start = line
    for _ in range(_MOST_LINES):
        if start == 0:
            break
        start = text.rfind("\n", 0, start - 1) + 1
        if line - start > tokens * STEP_CHARACTERS or len(encode(text[start:line])) > tokens:
            break
        if text[start : text.index("\n", start)].strip():
            begin = start
    if begin < line:
        return begin
    above = text[max(0, line - STEP_CHARACTERS) : line]
    return line - (len(above) - len(above.rstrip()))


def boundary_before(text: str, tokens: Sequence[int], offset: int, piece: Piece) -> tuple[int, int]:
    """The last boundary between `tokens` of `text` at or before character `offset`: tokens, characters.

    Where the tokens do not spell the text, byte for byte, its beginning is the only one.
    """
    data, ends = _spelled(text, tokens, piece)
    count = bisect_right(ends, _size(text[:offset])) - 1
    while count > 0 and not _starts_character(data, ends[count]):
        count -= 1
    return (count, len(data[: ends[count]].decode("utf-8"))) if count > 0 else (0, 0)


def boundary_after(text: str, tokens: Sequence[int], offset: int, piece: Piece) -> tuple[int, int]:
    """The first boundary between `tokens` of `text` at or after character `offset`: tokens, characters.

    Where the tokens do not spell the text, its end is the only one.
    """
    data, ends = _spelled(text, tokens, piece)
    count = bisect_left(ends, _size(text[:offset]))
    while count < len(ends) and not _starts_character(data, ends[count]):
        count += 1
    if count >= len(ends):
        return len(tokens), len(text)
    return count, len(data[: ends[count]].decode("utf-8"))


def _spelled(text: str, tokens: Sequence[int], piece: Piece) -> tuple[bytes, list[int]]:
    """The bytes of `text`, and where each of `tokens` ends in them, from 0 on; none where they differ."""
    data, pieces = text.encode("utf-8", "replace"), [piece(token) for token in tokens]
    if b"".join(pieces) != data:
        return data, []
    return data, list(accumulate(map(len, pieces), initial=0))


def _size(text: str) -> int:
    return len(text.encode("utf-8", "replace"))


def _starts_character(data: bytes, at: int) -> bool:
    return at == len(data) or data[at] & 0xC0 != 0x80
