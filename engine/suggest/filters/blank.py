"""Nothing but white space is no suggestion."""

from __future__ import annotations

from engine.request import Request


def drop(text: str, request: Request) -> str | None:
    """None for a blank `text`."""
    return text if text.strip() else None
