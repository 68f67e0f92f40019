"""A closing bracket or quote at the end that the suffix brings along."""

from __future__ import annotations

from engine import grammars
from engine.decode.brackets import Brackets
from engine.request import Request

_LOOK_BACK_CHARACTERS = 4000


def trim(text: str, request: Request) -> str:
    """`text` without the closing brackets at its end that would be one too many before the suffix.

    Only as many as the suffix starts with, in its order: `x))` before `)` loses one bracket, unless two are
    open at the cursor.
    """
    following = request.suffix.lstrip(" \t")
    trimmed = text.rstrip()
    for length in range(_closers(following), 0, -1):
        closing = following[:length]
        if trimmed.endswith(closing) and _needless(trimmed, closing, request):
            return trimmed[:-length]
    return text


def _closers(text: str) -> int:
    """How many closing brackets `text` starts with."""
    return len(text) - len(text.lstrip(")]}"))


def _needless(text: str, closing: str, request: Request) -> bool:
    """Whether `text` with the suffix closes more than is open."""
    language = request.language or grammars.language_of(request.path)
    brackets = Brackets(language)
    brackets.feed(request.prefix[-_LOOK_BACK_CHARACTERS:])
    brackets.feed(text[: -len(closing)])
    if not brackets.code or brackets.depth == 0:
        return brackets.code
    outer = brackets.depth
    brackets.feed(closing)
    closed = outer - brackets.depth
    brackets.feed(request.suffix.lstrip(" \t")[: len(closing)])
    return bool(brackets.unmatched) or closed < len(closing)
