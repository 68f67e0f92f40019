"""Edges as a model sees them: in the order of its tokens, which in fill-in-the-middle is not the text's."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from engine.usedef.names import Edge, Name


class TokenName(NamedTuple):
    """A name's tokens, as indices: all, the last of them, and the one behind it (None at the end)."""

    tokens: tuple[int, ...]
    last: int
    after: int | None


class TokenEdge(NamedTuple):
    """A use and its definitions, the latest in token order last."""

    use: TokenName
    definitions: tuple[TokenName, ...]


def in_token_order(edges: Iterable[Edge], middle: tuple[int, int]) -> tuple[Edge, ...]:
    """Those definitions that stand before their use in the order prefix, suffix, middle.

    `middle` are the characters (of prefix + middle + suffix) that come last; both equal for a hole. A use
    without a definition before it is left out.
    """
    start, end = middle

    def place(name: Name) -> tuple[int, int]:
        where = 0 if name.start < start else 2 if name.start < end else 1
        return where, name.start

    kept = []
    for use, definitions in edges:
        before = sorted((name for name in definitions if place(name) < place(use)), key=place)
        if before:
            kept.append(Edge(use, tuple(before)))
    return tuple(kept)


def token_edges(edges: Iterable[Edge], offsets: Sequence[tuple[int, int]]) -> tuple[TokenEdge, ...]:
    """`edges` by token index; `offsets` are each token's characters (start, end) in the text, in token order.

    Tokens without text (markers) have equal ends. Names of which no token is there are left out, and so are
    definitions that begin behind their use in token order.
    """
    found = []
    places = _Places(offsets)
    for use, definitions in edges:
        at = places.of(use)
        if at is None:
            continue
        names = [
            name for name in map(places.of, definitions) if name is not None and name.last < at.tokens[0]
        ]
        if names:
            found.append(TokenEdge(at, tuple(sorted(names))))
    return tuple(found)


class _Places:
    def __init__(self, offsets: Sequence[tuple[int, int]]) -> None:
        spans = sorted((start, end, index) for index, (start, end) in enumerate(offsets) if start < end)
        self._starts = [start for start, _, _ in spans]
        self._spans = spans
        self._count = len(offsets)

    def of(self, name: Name) -> TokenName | None:
        first = max(0, bisect_right(self._starts, name.start) - 1)
        tokens = []
        for start, end, index in self._spans[first:]:
            if start >= name.end:
                break
            if end > name.start:
                tokens.append(index)
        if not tokens:
            return None
        last = max(tokens)
        return TokenName(tuple(sorted(tokens)), last, last + 1 if last + 1 < self._count else None)
