"""Where a unit's keys and values are found: exactly, from another version of its text, or not at all.

Exact rows were computed behind the header and the unit's own chain. Rows of an earlier version of a document
serve a later one where the tokens are the same: PIE, positional integrity encoding (arXiv:2407.03157). They
are approximate, stay in memory, and are replaced when the unit is encoded anew.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING

from engine.kv.budgets import OPEN_MS, READ_BYTES_PER_MS
from engine.kv.cost import Tier
from engine.kv.keys import unit_key
from engine.kv.memory import Memory
from engine.kv.rows import Rows, Shape
from engine.prompt import Slice, Unit

if TYPE_CHECKING:
    from engine.kv.settling import Settling
    from engine.kv.store import Store

# Versions of one document's units that a changed unit is compared with.
_VERSIONS = 96
_DOCUMENTS = 512
# Of the chain before it, a unit is encoded behind its last units of at most so many tokens: bounds the cells
# it takes. Part of what "exact" is, so it belongs into the identity of rows.
CHAIN_TOKENS = 3072
# Shorter common stretches are not worth a placement of their own.
_LEAST_TOKENS = 8


@dataclass(frozen=True)
class Stretch:
    """`count` tokens in a row: rows [first, first + count) of `rows`, or None where they must be computed."""

    rows: Rows | None
    first: int
    count: int
    exact: bool = True

    def cut(self, start: int, end: int) -> Stretch | None:
        """What of it lies in [start, end), counted from its own first token."""
        start, end = max(0, start), min(self.count, end)
        if start >= end:
            return None
        return Stretch(self.rows, self.first + start, end - start, self.exact)


@dataclass(frozen=True)
class _Version:
    tokens: tuple[int, ...]
    chain: str
    key: bytes


class Shelf:
    """The rows of one model behind one header: memory before disk, exact before approximate.

    `identity` is `engine.kv.keys.identity_key`; `store` None keeps nothing on disk. Units of a text being
    edited go through `settling`, so that not every pause of its writer reaches the disk.
    """

    def __init__(
        self,
        memory: Memory,
        store: Store | None,
        *,
        identity: bytes,
        header_tokens: int,
        shape: Shape,
        settling: Settling | None = None,
    ) -> None:
        self._memory = memory
        self._store = store
        self._settling = settling
        self._identity = identity
        self._header_tokens = header_tokens
        self._shape = shape
        self._keys: OrderedDict[str, bytes] = OrderedDict()
        self._versions: OrderedDict[str, OrderedDict[bytes, _Version]] = OrderedDict()
        self.from_disk = 0

    def base(self, unit: Unit) -> int:
        """The position of the unit's first token when it is encoded."""
        return self._header_tokens + unit.offset

    def key(self, unit: Unit) -> bytes:
        """The exact key: identity, and the tokens of the chain up to and including the unit."""
        chain = [unit]
        while (known := self._keys.get(chain[-1].digest)) is None and chain[-1].previous is not None:
            chain.append(chain[-1].previous)
        for link in reversed(chain):
            if link.digest not in self._keys:
                self._keys[link.digest] = known = unit_key(self._identity, known, link.tokens)
        while len(self._keys) > 65_536:
            self._keys.popitem(last=False)
        assert known is not None
        return known

    def has(self, unit: Unit) -> bool:
        """Whether exact rows are known, without reading them from disk."""
        return self.tier(unit) is not None

    def tier(self, unit: Unit) -> Tier | None:
        """Where the unit's exact rows are; None where there are none."""
        key = self.key(unit)
        if key in self._memory:
            return "ram"
        return "disk" if self._store is not None and self._store.has(key) else None

    def exact(self, unit: Unit) -> Rows | None:
        """The unit's exact rows, from memory or disk."""
        key = self.key(unit)
        rows = self._memory.get(key)
        if rows is None and self._store is not None:
            rows = self._store.get(key, tokens=len(unit.tokens), base=self.base(unit), shape=self._shape)
            if rows is not None:
                self.from_disk += 1
                reading_ms = OPEN_MS + rows.nbytes / READ_BYTES_PER_MS
                self._memory.put(key, rows, compute_ms=reading_ms)
        if rows is not None:
            self._remember(unit.name, _Version(unit.tokens, _chain(unit), key))
        return rows

    def put(self, unit: Unit, rows: Rows, *, compute_ms: float, edited: bool = False) -> None:
        """Keep exact rows, in memory and on disk; there later, when the text is being `edited`."""
        key = self.key(unit)
        self._memory.put(key, rows, compute_ms=compute_ms)
        self._remember(unit.name, _Version(unit.tokens, _chain(unit), key))
        if edited and self._settling is not None:
            place = unit.name, len(unit.chain())
            self._settling.put(key, rows, compute_ms=compute_ms, place=place)
        elif self._store is not None:
            self._store.put(key, rows, compute_ms=compute_ms)

    def keep(self, name: str, tokens: tuple[int, ...], rows: Rows, *, compute_ms: float) -> None:
        """Keep rows computed behind whatever stood before them: approximate later, so in memory only."""
        digest = hashlib.blake2b(repr((name, tokens)).encode(), key=self._identity[:32], digest_size=32)
        self._memory.put(digest.digest(), rows, compute_ms=compute_ms)
        self._remember(name, _Version(tokens, "", digest.digest()))

    def find(self, wanted: Slice) -> tuple[Stretch, ...]:
        """Stretches that cover the slice in order; those without rows are to be computed."""
        unit, first, count = wanted.unit, wanted.first, wanted.count
        rows = self.exact(unit)
        if rows is not None:
            return (Stretch(rows, first, count),)
        found = self._spliced(unit, first, count)
        return found or (Stretch(None, first, count),)

    def _remember(self, name: str, version: _Version) -> None:
        versions = self._versions.setdefault(name, OrderedDict())
        self._versions.move_to_end(name)
        versions[version.key] = version
        versions.move_to_end(version.key)
        while len(versions) > _VERSIONS:
            versions.popitem(last=False)
        while len(self._versions) > _DOCUMENTS:
            self._versions.popitem(last=False)

    def _spliced(self, unit: Unit, first: int, count: int) -> tuple[Stretch, ...]:
        """The slice out of the known version that has most of it in common."""
        wanted = unit.tokens[first : first + count]
        best: tuple[int, tuple[Stretch, ...]] = (0, ())
        for version in reversed(self._versions.get(unit.name, OrderedDict()).values()):
            cover = _cover(unit, first, wanted, version)
            covered = sum(stretch.count for stretch in cover if stretch.first >= 0)
            if covered > best[0] and (placed := self._placed(cover, version)):
                best = covered, placed
                if covered == count:
                    break
        return best[1]

    def _placed(self, cover: Sequence[Stretch], version: _Version) -> tuple[Stretch, ...]:
        rows = self._memory.get(version.key)
        if rows is None:
            return ()
        return tuple(
            Stretch(rows, part.first, part.count, part.exact)
            if part.first >= 0
            else Stretch(None, 0, part.count)
            for part in cover
        )


def _cover(unit: Unit, first: int, wanted: tuple[int, ...], version: _Version) -> tuple[Stretch, ...]:
    """`wanted` out of a version's tokens: what both begin with, a gap (first -1), what both end with.

    A version that is the whole unit is compared from its own beginning; one that is a piece, as it is.
    """
    same_chain = bool(version.chain) and version.chain == _chain(unit)
    tokens = version.tokens
    if wanted == tokens:
        return (Stretch(None, 0, len(wanted), False),)
    head = _common(unit.tokens, tokens)
    tail = min(_common(unit.tokens[::-1], tokens[::-1]), min(len(unit.tokens), len(tokens)) - head)
    gap = len(unit.tokens) - head - tail
    parts = [
        (Stretch(None, 0, head, same_chain), 0),
        (Stretch(None, -1, gap, False), head),
        (Stretch(None, len(tokens) - tail, tail, False), head + gap),
    ]
    cover: list[Stretch] = []
    for part, start in parts:
        piece = _clipped(part, first - start, first + len(wanted) - start)
        if piece is None:
            continue
        if piece.first >= 0 and piece.count < _LEAST_TOKENS and len(wanted) > _LEAST_TOKENS:
            piece = Stretch(None, -1, piece.count, False)
        if cover and cover[-1].first < 0 and piece.first < 0:
            cover[-1] = Stretch(None, -1, cover[-1].count + piece.count, False)
        else:
            cover.append(piece)
    return tuple(cover) if any(piece.first >= 0 for piece in cover) else ()


def _clipped(part: Stretch, start: int, end: int) -> Stretch | None:
    if part.first >= 0:
        return part.cut(start, end)
    count = min(part.count, end) - max(0, start)
    return Stretch(None, -1, count, False) if count > 0 else None


def window(unit: Unit) -> list[Unit]:
    """The units a unit is encoded behind, in order: the last of its chain, CHAIN_TOKENS at most."""
    found: list[Unit] = []
    total = 0
    link = unit.previous
    while link is not None and total + len(link.tokens) <= CHAIN_TOKENS:
        found.append(link)
        total += len(link.tokens)
        link = link.previous
    return found[::-1]


def _chain(unit: Unit) -> str:
    return unit.previous.digest if unit.previous else "start"


def _common(left: Sequence[int], right: Sequence[int]) -> int:
    pairs = zip(left, right, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
