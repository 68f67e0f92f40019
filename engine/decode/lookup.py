"""Guessing the next tokens by looking up the last ones in the prompt and in what was generated.

Method: prompt lookup decoding (github.com/apoorvumang/prompt-lookup-decoding), LLMA, "inference with
reference" (arXiv:2304.04487), and REST (arXiv:2311.08252), whose references are a data store; here they are
the request's documents, the file on both sides of the cursor and the generation itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

LONGEST_MATCH_TOKENS = 12
# Of more matches than these the last count: they stand nearest to the cursor.
_MOST_MATCHES = 256
_SEPARATOR = -1


class Guess(NamedTuple):
    """One guessed token: it followed `votes` of the `matches` places where the last `length` tokens stand."""

    token: int
    length: int
    votes: int
    matches: int


class Lookup:
    """References and a history, as tokens; the history is the last reference, and grows.

    Every look-up compares the history's end with all references, vectorised: some 30 µs over 4,000 tokens,
    with nothing to build beforehand.
    """

    def __init__(self, references: Iterable[Sequence[int]], history: Sequence[int]) -> None:
        parts: list[int] = []
        for reference in references:
            parts.extend(reference)
            parts.append(_SEPARATOR)
        self._start = len(parts)
        self._end = self._start + len(history)
        self._tokens = np.full(self._end + 64, _SEPARATOR, dtype=np.int32)
        self._tokens[: self._end] = [*parts, *history]

    def append(self, token: int) -> None:
        """The history goes on with `token`."""
        if self._end == len(self._tokens):
            more = np.full(self._end, _SEPARATOR, dtype=np.int32)
            self._tokens = np.concatenate((self._tokens, more))
        self._tokens[self._end] = token
        self._end += 1

    def guesses(self, limit: int) -> list[Guess]:
        """At most `limit` tokens that may follow, by what followed the longest matches of the history's end.

        Matches do not cross from one reference into another. Each guess is what most of the matches that
        agree with the guesses before it go on with; between equals, the last match.
        """
        length, places = self._matches()
        found: list[Guess] = []
        while len(found) < limit and len(places):
            following = self._tokens[places]
            places, following = places[following >= 0], following[following >= 0]
            if not len(places):
                break
            token, votes = _most_common(following)
            found.append(Guess(token, min(length, LONGEST_MATCH_TOKENS), votes, len(places)))
            places = places[following == token] + 1
            places = places[places < self._end]
            length += 1
        return found

    def _matches(self) -> tuple[int, NDArray[np.int64]]:
        """The longest match's length, and the places behind its matches, ascending."""
        tokens, end = self._tokens, self._end
        places = np.arange(1, end, dtype=np.int64)[:0]
        for length in range(1, min(LONGEST_MATCH_TOKENS, end - self._start) + 1):
            wanted = tokens[end - length]
            if length == 1:
                kept = np.flatnonzero(tokens[: end - 1] == wanted) + 1
            else:
                kept = places[places >= length]
                kept = kept[tokens[kept - length] == wanted]
            kept = kept[tokens[kept] >= 0] if length == 1 else kept
            if not len(kept):
                return length - 1, places[-_MOST_MATCHES:]
            places = kept
        return min(LONGEST_MATCH_TOKENS, end - self._start), places[-_MOST_MATCHES:]


def _most_common(tokens: NDArray[np.int32]) -> tuple[int, int]:
    """The most frequent token and how often it occurs; of equally frequent ones, that which occurs last."""
    if len(tokens) == 1:
        return int(tokens[0]), 1
    listed = tokens.tolist()[::-1]
    return Counter(listed).most_common(1)[0]
