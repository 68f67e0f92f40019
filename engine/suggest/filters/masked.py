"""A suggestion that copies the mask of a secret it was not shown."""

from __future__ import annotations

from engine.privacy.keys import MASK
from engine.request import Request


def trim(text: str, request: Request) -> str | None:
    """The lines of `text` before the first with a mask in it; None when that is the first."""
    head, mask, _ = text.partition(MASK)
    return text if not mask else head.rpartition("\n")[0] or None
