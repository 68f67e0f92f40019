"""Prompts as text, for servers that tokenise themselves and parse control tokens in what they are sent."""

from __future__ import annotations

import re
from collections.abc import Iterable

from engine.prompt.layouts import FAMILIES, Family

_CHUNK = re.compile(r"\n+| ?\w{1,6}| ?[^\w\s]{1,2}|[^\S\n]+")
_KNOWN = sorted(
    {re.escape(marker[1:]) for family in FAMILIES for marker in family.markers if marker[0] == "<"}
)
_CONTROL = re.compile(
    r"<(?=(?:\|[^|\s<>]{1,40}\||｜[^｜\s<>]{1,40}｜|/?s|/?SYS>|"
    r"(?:fim|file|repo|gh|issue|jupyter|commit|empty)[-_]?[a-z_]{1,16}|PRE|SUF|MID|EOT|endoftext|bos|eos|pad|unk)>"
    r"|" + "|".join(_KNOWN) + r")|\[(?=/?INST\])"
)


def neutralise(text: str) -> str:
    """`text` with a space inside every spelling of a control token: `<|fim_middle|>` -> `< |fim_middle|>`.

    A remote server cannot be told which part of a prompt is text and which is control. A space is
    chosen over a zero-width character because a model may copy what it reads into the suggestion, and what
    enters a person's file must be visible. Spellings of every family are broken, not only the model's own.
    """
    return _CONTROL.sub(lambda match: match.group() + " ", text)


class TextTokenizer:
    """A Tokenizer whose tokens are estimated: chunks of up to six letters, blanks and signs.

    It lets `assemble` cut and lay out a prompt whose real tokenizer is behind a server. Counts are
    estimates, too high rather than too low: a prompt that fits by them fits. `spell` turns tokens back into
    the text to send.
    """

    bos: int | None = None
    eog: frozenset[int] = frozenset()

    def __init__(self, family: Family) -> None:
        self._texts: list[str] = list(family.markers)
        self._ids: dict[str, int] = {}
        self._markers = {marker: i for i, marker in enumerate(family.markers)}

    def encode(self, text: str, *, special: bool) -> list[int]:
        """Chunk ids of `text` with control tokens made harmless (`special` changes nothing)."""
        return [self._id(chunk) for chunk in _CHUNK.findall(neutralise(text))]

    def piece(self, token: int) -> bytes:
        """The chunk, `b""` for a marker."""
        return b"" if token < len(self._markers) else self._texts[token].encode("utf-8", "replace")

    def special(self, name: str) -> int | None:
        """The marker's id when the family has it."""
        return self._markers.get(name)

    def spell(self, tokens: Iterable[int]) -> str:
        """The text to send: markers by name, chunks as they are."""
        text = "".join(self._texts[token] for token in tokens)
        return text.encode("utf-8", "replace").decode()

    def count(self, text: str) -> int:
        """Estimated tokens of `text`."""
        return len(_CHUNK.findall(text))

    def _id(self, chunk: str) -> int:
        known = self._ids.get(chunk)
        if known is None:
            known = self._ids[chunk] = len(self._texts)
            self._texts.append(chunk)
        return known
