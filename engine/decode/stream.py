"""Bytes of tokens -> text: a character split over several tokens appears when it is whole."""

from __future__ import annotations

import codecs


class Utf8Stream:
    """Collects a generation's bytes; `text` never ends inside a character.

    Invalid bytes become U+FFFD, as any editor would show them; an unfinished character at the end of the
    generation is dropped.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.text = ""

    def feed(self, data: bytes) -> str:
        """Take more bytes; returns the whole text so far."""
        self.text += self._decoder.decode(data)
        return self.text
