"""Token healing: a prompt must not end inside what the model would write as one token.

The last token of a prompt ending in `book.ent` is `.ent`; `.enter` can then no longer be produced as the
model learned it. So tokens whose bytes begin a longer token are taken off the prompt, and the generation is
constrained to spell those bytes first. With a hole, the prompt's end is the end of the *prefix*; the
constraint applies to what follows the FIM middle marker all the same.
Method: "token healing" of Guidance (github.com/guidance-ai/guidance), "backtracking" in arXiv:2402.01035.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

LONGEST_HEAL_TOKENS = 2
LONGEST_HEAL_BYTES = 24
_REMEMBERED_SPELLINGS = 256


class Vocabulary:
    """Every token's bytes, sorted once, so that "tokens that start with" is a slice.

    `pieces[i]` are the bytes of token i; control tokens have `b""` and are never allowed. Building it for
    151,936 tokens takes about 0.15 s; a look-up is a binary search.
    """

    def __init__(self, pieces: Sequence[bytes]) -> None:
        order = sorted((i for i, piece in enumerate(pieces) if piece), key=pieces.__getitem__)
        self._sorted = [pieces[i] for i in order]
        self._ids = np.array(order, dtype=np.int64)
        self._spellings: dict[bytes, NDArray[np.int64]] = {}

    def starting(self, beginning: bytes) -> NDArray[np.int64]:
        """Ids of tokens whose bytes start with `beginning`, including those equal to it."""
        low, high = self._range(beginning)
        return self._ids[low:high]

    def spelling(self, text: bytes) -> NDArray[np.int64]:
        """Ids, ascending, of tokens that `text` starts with, and of tokens that start with it."""
        known = self._spellings.get(text)
        if known is None:
            parts = [self.starting(text)]
            parts += [self._equal(text[:length]) for length in range(1, len(text))]
            if len(self._spellings) >= _REMEMBERED_SPELLINGS:
                self._spellings.clear()
            known = self._spellings[text] = np.sort(np.concatenate(parts))
        return known

    def continues(self, text: bytes) -> bool:
        """Whether some token is longer than `text` and starts with it."""
        low, high = self._range(text)
        return high - low > len(self._equal(text))

    def _range(self, beginning: bytes) -> tuple[int, int]:
        low = bisect_left(self._sorted, beginning)
        after = _successor(beginning)
        return low, len(self._sorted) if after is None else bisect_left(self._sorted, after, low)

    def _equal(self, text: bytes) -> NDArray[np.int64]:
        low = bisect_left(self._sorted, text)
        return self._ids[low : bisect_left(self._sorted, text + b"\0", low)]


class Healer:
    """Holds the generation to the healed bytes; past them it allows everything.

    healer = Healer(vocabulary, prompt.heal)
    token = sampler.pick(logits, allowed=healer.allowed())
    shown = healer.accept(piece(token))     # bytes that are new to the user
    """

    def __init__(self, vocabulary: Vocabulary, heal: bytes) -> None:
        self._vocabulary = vocabulary
        self._left = heal

    @property
    def pending(self) -> bytes:
        """Bytes still to be reproduced."""
        return self._left

    def allowed(self) -> NDArray[np.int64] | None:
        """Token ids allowed next, ascending; None: all of them."""
        return self._vocabulary.spelling(self._left) if self._left else None

    def accept(self, token_bytes: bytes) -> bytes:
        """Take a chosen token's bytes; returns those beyond the healed ones, the suggestion's own."""
        reproduced = min(len(token_bytes), len(self._left))
        self._left = self._left[reproduced:]
        return token_bytes[reproduced:]


def healed(
    vocabulary: Vocabulary,
    tokens: Sequence[int],
    piece: Callable[[int], bytes],
    *,
    words_only: bool = False,
) -> tuple[int, bytes]:
    """How many trailing `tokens` to take off a prompt, and the bytes they stand for.

    As many as begin a longer token together, at most LONGEST_HEAL_TOKENS. Nothing is taken after a line
    break, where a line starts afresh, and with `words_only` nothing unless the cursor is inside a word: FIM
    training cuts text anywhere, so a prefix that ends in `book.` is no stranger to the model, and taking
    the dot away from it makes it worse (docs/prompting.md).
    """
    best = (0, b"")
    tail = b""
    if not tokens or (words_only and not _in_word(piece(tokens[-1]))):
        return best
    for count, token in enumerate(reversed(tokens[-LONGEST_HEAL_TOKENS:]), start=1):
        tail = piece(token) + tail
        if not piece(token) or tail.endswith(b"\n") or len(tail) > LONGEST_HEAL_BYTES:
            break
        if vocabulary.continues(tail):
            best = (count, tail)
    return best


def _in_word(text: bytes) -> bool:
    last = text[-1:]
    return last.isalnum() or last == b"_" or last >= b"\x80"


def _successor(text: bytes) -> bytes | None:
    """The first byte string after all that start with `text`, None when there is none."""
    stripped = text.rstrip(b"\xff")
    return stripped[:-1] + bytes([stripped[-1] + 1]) if stripped else None
