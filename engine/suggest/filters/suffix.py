"""The end of a suggestion that is already there after the cursor."""

from __future__ import annotations

from engine.decode.suffix import Following
from engine.request import Request


def trim(text: str, request: Request) -> str | None:
    """`text` up to where it starts to repeat the suffix; None when all of it does."""
    cut = Following.of(request).reached(text.rstrip("\n"), final=True)
    if cut is None:
        return text
    return text[:cut].rstrip() or None
