"""User text -> tokens, remembered: documents and far lines stay the same from keystroke to keystroke."""

from __future__ import annotations

from collections import OrderedDict
from weakref import WeakKeyDictionary

from engine.prompt.layouts import BY_ID, Family
from engine.prompt.tokenizer import Tokenizer, encode_text

REMEMBERED_CHARACTERS = 4_000_000
_OVERHEAD_CHARACTERS = 100


class Encoder:
    """Encodes text for one tokenizer and family; the last REMEMBERED_CHARACTERS are kept."""

    def __init__(self, family: Family) -> None:
        self._dummy_space = family.dummy_space
        self._spellings = family.markers
        self._markers: dict[str, int] | None = None
        self._known: OrderedDict[str, list[int]] = OrderedDict()
        self._size = 0

    def encode(self, text: str, tokenizer: Tokenizer, control: frozenset[int]) -> list[int]:
        """Tokens of `text`, none of them in `control`. The list must not be changed."""
        if not text:
            return []
        known = self._known.get(text)
        if known is not None:
            self._known.move_to_end(text)
            return known
        tokens = self._fresh(text, tokenizer, control)
        self._remember(text, tokens)
        return tokens

    def markers(self, tokenizer: Tokenizer) -> dict[str, int]:
        """The family's markers that the tokenizer has, by spelling. The dictionary must not be changed."""
        if self._markers is None:
            ids = {marker: _marker_id(marker, tokenizer) for marker in self._spellings}
            self._markers = {marker: token for marker, token in ids.items() if token is not None}
        return self._markers

    def _fresh(self, text: str, tokenizer: Tokenizer, control: frozenset[int]) -> list[int]:
        if not self._dummy_space:
            return encode_text(tokenizer, text, control=control)
        # A SentencePiece tokenizer puts a space before every text: encode behind a line break, take it off.
        lead = tokenizer.encode("\n", special=False)
        tokens = encode_text(tokenizer, "\n" + text, control=control)
        return tokens[len(lead) :] if tokens[: len(lead)] == lead else tokens

    def _remember(self, text: str, tokens: list[int]) -> None:
        self._known[text] = tokens
        self._size += len(text) + _OVERHEAD_CHARACTERS
        while self._size > REMEMBERED_CHARACTERS:
            old, _ = self._known.popitem(last=False)
            self._size -= len(old) + _OVERHEAD_CHARACTERS


def _marker_id(marker: str, tokenizer: Tokenizer) -> int | None:
    if marker.startswith(BY_ID):
        return int(marker.removeprefix(BY_ID))
    return tokenizer.special(marker)


_encoders: WeakKeyDictionary[Tokenizer, dict[Family, Encoder]] = WeakKeyDictionary()


def encoder(tokenizer: Tokenizer, family: Family) -> Encoder:
    """The encoder of this tokenizer and family; it goes when the tokenizer goes."""
    return _encoders.setdefault(tokenizer, {}).setdefault(family, Encoder(family))
