"""What prompts need of a tokenizer, and text that cannot smuggle control tokens past it."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Protocol


class Tokenizer(Protocol):
    """A model's tokenizer, as narrow as prompts need it."""

    @property
    def bos(self) -> int | None:
        """The token every prompt of this model starts with, None when it wants none."""
        ...

    @property
    def eog(self) -> frozenset[int]:
        """Tokens that end a generation."""
        ...

    def encode(self, text: str, *, special: bool) -> list[int]:
        """Token ids without BOS; `special` allows spellings of control tokens to become those tokens."""
        ...

    def piece(self, token: int) -> bytes:
        """The token's bytes, `b""` for a control token."""
        ...

    def special(self, name: str) -> int | None:
        """The control token spelled `name`, None when the vocabulary has none."""
        ...


_MARKER = re.compile(r"<[|｜]?[^\s<>]{1,40}[|｜]?>|▁<[A-Z]{3}>")


def encode_text(tokenizer: Tokenizer, text: str, *, control: Collection[int] = ()) -> list[int]:
    """Tokens of user text, free of end-of-generation tokens and of those in `control`.

    llama.cpp parses some added tokens even with special parsing off (attribute USER_DEFINED, and ordinary
    pieces like `</s>` that it counts as an end), so the result is checked; where one shows up, the text is
    split inside the spelling, which keeps every byte and yields ordinary tokens.
    """
    tokens = tokenizer.encode(text, special=False)
    forbidden = tokenizer.eog.union(control)
    if forbidden.isdisjoint(tokens):
        return tokens
    return [token for part in _broken(text) for token in _halved(tokenizer, part, forbidden)]


def _halved(tokenizer: Tokenizer, text: str, forbidden: Collection[int]) -> list[int]:
    """Tokens of `text`, cut in halves until no spelling of a forbidden one, whatever it is, is whole."""
    tokens = tokenizer.encode(text, special=False)
    if not any(token in forbidden for token in tokens):
        return tokens
    if len(text) < 2:
        return [token for token in tokens if token not in forbidden]
    middle = len(text) // 2
    return [token for part in (text[:middle], text[middle:]) for token in _halved(tokenizer, part, forbidden)]


def _broken(text: str) -> list[str]:
    """`text` in parts, cut after the second character of whatever looks like a control token."""
    cuts = [match.start() + 2 for match in _MARKER.finditer(text)]
    return [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True) if a < b]
