"""What is computed in place: the lines before the cursor, the rest of its line, and where units can be cut.

Where the near lines begin depends on what is above the cursor's line only: typing on the line moves nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

Encode = Callable[[str], list[int]]
Piece = Callable[[int], bytes]

# Part of the near tokens that is left to the cursor's own line.
LINE_SHARE = 0.25
# Of a line longer than twice this, on either side, what is near begins or ends at a multiple of it.
STEP_CHARACTERS = 240
_MOST_LINES = 64


@dataclass(frozen=True)
class Near:
    """Offsets in the file's text: where near lines begin, the cursor's line, the cursor, where they end."""

    begin: int
    line: int
    cursor: int
    end: int


def near(text: str, cursor: int, tokens: int, encode: Encode) -> Near:
    """The lines above the cursor's that fit into most of `tokens`, its line, and the rest of it.

    They begin at a line with something on it. When none fits, the blank lines above belong to them, since
    a tokenizer may join these with what is typed below.
    """
    line = text.rfind("\n", 0, cursor) + 1
    end = text.find("\n", cursor) + 1 or len(text)
    if end - cursor > 2 * STEP_CHARACTERS:
        end = cursor + STEP_CHARACTERS
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
    return max(
        (found for found in _boundaries(text, tokens, piece) if found[1] <= offset),
        key=lambda found: found[0],
        default=(0, 0),
    )


def boundary_after(text: str, tokens: Sequence[int], offset: int, piece: Piece) -> tuple[int, int]:
    """The first boundary between `tokens` of `text` at or after character `offset`: tokens, characters."""
    end = len(tokens), len(text)
    return min(
        (found for found in _boundaries(text, tokens, piece) if found[1] >= offset),
        key=lambda found: found[0],
        default=end,
    )


def _boundaries(text: str, tokens: Sequence[int], piece: Piece) -> list[tuple[int, int]]:
    """Where a token ends and a character does: (tokens, characters) up to there."""
    data = text.encode("utf-8", "replace")
    pieces = [piece(token) for token in tokens]
    if b"".join(pieces) != data:
        return []
    found, done, characters = [(0, 0)], 0, 0
    for count, part in enumerate(pieces, start=1):
        characters += sum(byte & 0xC0 != 0x80 for byte in part)
        done += len(part)
        if done == len(data) or data[done] & 0xC0 != 0x80:
            found.append((count, characters))
    return found
