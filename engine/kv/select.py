"""Which chunks a prompt attends to when all of them are too many: the nearest, the first, the most alike.

Pure functions over sizes and texts. Nothing here depends on the cursor's line, so that typing on it changes
no choice.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

# What follows the cursor counts as this much farther away than what precedes it: it gets about a quarter.
AFTER_DISTANCE = 3
_IDENTIFIER = re.compile(r"[^\W\d]\w{2,}")
_REMEMBERED_CHUNKS = 4096
_REMEMBERED_RANKINGS = 256


@dataclass(frozen=True)
class Candidate:
    """A chunk that may be chosen: what it costs and what it says."""

    tokens: int
    text: str


def around(before: Sequence[int], after: Sequence[int], budget: int) -> tuple[int, int]:
    """How many chunks before and after the cursor fit into `budget` tokens, the nearest first.

    `before` and `after` are their tokens, nearest first. A side ends at its first chunk that does not fit:
    what is chosen has no gap.
    """
    taken = [0, 0]
    distances = [0, 0]
    sides = (before, after)
    while open_ := [side for side in (0, 1) if taken[side] < len(sides[side])]:
        side = min(open_, key=distances.__getitem__)
        tokens = sides[side][taken[side]]
        if tokens > budget:
            sides = (before[: taken[0]], after) if side == 0 else (sides[0], after[: taken[1]])
            continue
        budget -= tokens
        taken[side] += 1
        distances[side] += tokens * (AFTER_DISTANCE if side else 1)
    return taken[0], taken[1]


def documents(
    offered: Sequence[Sequence[Candidate]], budget: int, query: str, *, titles: Sequence[int] = ()
) -> list[tuple[int, ...]]:
    """The chosen chunks of each document (most relevant last), by index, in order.

    Whole documents as long as they fit into `budget`, the most relevant first; of the next, the chunks that
    share most with `query`. Those before it get nothing. `titles[i]` is what naming document i costs.
    """
    chosen: list[tuple[int, ...]] = [()] * len(offered)
    for index in range(len(offered) - 1, -1, -1):
        chunks = offered[index]
        left = budget - (titles[index] if titles else 0)
        total = sum(chunk.tokens for chunk in chunks)
        if total > left:
            chosen[index] = relevant(chunks, left, query)
            break
        chosen[index] = tuple(range(len(chunks)))
        budget = left - total
    return chosen


def relevant(chunks: Sequence[Candidate], budget: int, query: str, *, alike: bool = False) -> tuple[int, ...]:
    """The chunks, by index, in order, that share most with `query` and fit into `budget` tokens together.

    Those that share nothing come last, the earlier first, or not at all (`alike`).
    """
    scores = overlaps(tuple(chunk.text for chunk in chunks), query)
    chosen = []
    for index in sorted(range(len(chunks)), key=lambda index: (-scores[index], index)):
        if chunks[index].tokens <= budget and (scores[index] or not alike):
            budget -= chunks[index].tokens
            chosen.append(index)
    return tuple(sorted(chosen))


@lru_cache(maxsize=_REMEMBERED_RANKINGS)
def overlaps(texts: tuple[str, ...], query: str) -> tuple[float, ...]:
    """How much each text shares with `query`: the sum of its shared identifiers' idf.

    Inverse document frequency as in BM25, over `texts`: log(1 + (N - n + 0.5) / (n + 0.5)) for an identifier
    that n of N texts have. Frequencies within a text do not count: chunks are of one size.
    """
    wanted = identifiers(query)
    shared = [wanted & identifiers(text) for text in texts]
    counts = Counter(name for names in shared for name in names)
    weights = {name: math.log1p((len(texts) - n + 0.5) / (n + 0.5)) for name, n in counts.items()}
    return tuple(sum(sorted(weights[name] for name in names)) for names in shared)


@lru_cache(maxsize=_REMEMBERED_CHUNKS)
def identifiers(text: str) -> frozenset[str]:
    """The names in `text`, of three letters or more."""
    return frozenset(_IDENTIFIER.findall(text))
