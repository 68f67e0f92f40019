"""Secrets taken out of a stream of output before it is kept."""

from __future__ import annotations

from engine.privacy.keys import open_key, skip_key
from engine.privacy.strings import MASK, redact

__all__ = ["MASK", "Redactor", "redact"]


class Redactor:
    """`redact` over a stream of whole lines: a private key that spans pieces is left out as one."""

    def __init__(self) -> None:
        self._in_key = False

    def feed(self, text: str) -> str:
        """The next piece."""
        if self._in_key:
            text, self._in_key = skip_key(text)
        begin = open_key(text)
        if begin is None:
            return redact(text)
        self._in_key = True
        return f"{redact(text[:begin])} {MASK}\n"
