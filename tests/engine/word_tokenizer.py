"""A small exact tokenizer for tests without a model: greedy longest match over a vocabulary of words."""

from __future__ import annotations

from engine.prompt import Family
from engine.prompt.layouts import CODELLAMA, DEEPSEEK, PLAIN, QWEN, STARCODER, STARCODER1

WORDS = ("book", ".enter", ".ent", ".entry", "enter", "ent", "er", "==", "\n\n", "return", "def", "class")
WORDS += ("import", " return", " x", "self")


class WordTokenizer:
    """Tokens: one a byte, then WORDS and indentations, then `markers` (control). Longest match from the left.

    As llama.cpp does for tokens of attribute USER_DEFINED, `leaky` markers become tokens even in plain text.
    """

    def __init__(self, family: Family = QWEN, *, bos: int | None = None, leaky: tuple[str, ...] = ()) -> None:
        words = sorted({word for word in WORDS if len(word) > 1} | {" " * n for n in range(2, 9)})
        self.pieces = [bytes([byte]) for byte in range(256)] + [word.encode() for word in words]
        self._words = {piece: token for token, piece in enumerate(self.pieces)}
        self._longest = max(map(len, self.pieces))
        self.markers = {marker: len(self.pieces) + i for i, marker in enumerate(family.markers)}
        self.pieces += [b""] * len(self.markers)
        self.bos = bos
        self.eog = frozenset(self.markers[stop] for stop in family.stops)
        self._leaky = leaky

    def encode(self, text: str, *, special: bool) -> list[int]:
        for marker in self.markers if special else self._leaky:
            if marker in text:
                head, _, tail = text.partition(marker)
                inner = [self.markers[marker]]
                return [*self.encode(head, special=special), *inner, *self.encode(tail, special=special)]
        return self._match(text.encode())

    def piece(self, token: int) -> bytes:
        return self.pieces[token]

    def special(self, name: str) -> int | None:
        return self.markers.get(name)

    def show(self, tokens: tuple[int, ...]) -> str:
        """The tokens as text, control tokens by name."""
        names = {token: marker.encode() for marker, token in self.markers.items()}
        return b"".join(names.get(token) or self.pieces[token] for token in tokens).decode()

    def _match(self, data: bytes) -> list[int]:
        tokens, at = [], 0
        while at < len(data):
            length = next(
                n
                for n in range(self._longest, 0, -1)
                if data[at : at + n] in self._words and at + n <= len(data)
            )
            tokens.append(self._words[data[at : at + length]])
            at += length
        return tokens


FAMILIES = {
    "qwen": QWEN,
    "starcoder2": STARCODER,
    "starcoder": STARCODER1,
    "codellama": CODELLAMA,
    "deepseek": DEEPSEEK,
    "plain": PLAIN,
}
