"""A closing bracket or quote at the end that the suffix brings along."""

from __future__ import annotations

from engine.decode.brackets import CLOSING
from engine.decode.suffix import Following, unmatched
from engine.request import Request


def trim(text: str, request: Request) -> str:
    """`text` without the closing brackets at its end that would be one too many before the suffix.

    A bracket is one too many when neither the text nor the line before it opened it, or when the suffix
    closes it already: `x)` before `)` loses its bracket, unless two are open at the cursor.
    """
    following = Following.of(request)
    closed = unmatched(text, following.language)
    needless = closed - following.owed
    trimmed = text.rstrip()
    while trimmed and trimmed[-1] in CLOSING and needless[trimmed[-1]] > 0:
        needless[trimmed[-1]] -= 1
        trimmed = trimmed[:-1].rstrip()
    return trimmed if len(trimmed) < len(text.rstrip()) else text
