"""The tier in RAM: rows within a budget of bytes, the cheapest to compute again leave first."""

from __future__ import annotations

import heapq
import itertools
import threading
from dataclasses import dataclass

from engine.kv.budgets import priority
from engine.kv.rows import Rows


@dataclass(frozen=True)
class MemoryStats:
    """What is held and what happened since the start. Sizes in bytes."""

    units: int
    bytes: int
    budget_bytes: int
    hits: int
    misses: int
    evictions: int


@dataclass(eq=False)
class _Held:
    rows: Rows
    compute_ms: float
    uses: int
    priority: float
    ticket: int


class Memory:
    """Rows by key in at most `budget_bytes`. Safe for threads.

    A use costs one multiplication: the heap learns of it only when the unit comes up for eviction.
    """

    def __init__(self, budget_bytes: int) -> None:
        self._budget = budget_bytes
        self._held: dict[bytes, _Held] = {}
        self._heap: list[tuple[float, int, bytes]] = []
        self._tickets = itertools.count()
        self._lock = threading.Lock()
        self._bytes = 0
        self._age = 0.0
        self._hits = self._misses = self._evictions = 0

    def __contains__(self, key: bytes) -> bool:
        return key in self._held

    def __len__(self) -> int:
        return len(self._held)

    def get(self, key: bytes) -> Rows | None:
        """The rows kept under `key`, or None."""
        with self._lock:
            held = self._held.get(key)
            if held is None:
                self._misses += 1
                return None
            self._hits += 1
            held.uses += 1
            held.priority = priority(self._age, held.compute_ms, held.rows.nbytes, held.uses)
            return held.rows

    def put(self, key: bytes, rows: Rows, *, compute_ms: float) -> bool:
        """Keep `rows`, in place of what `key` had, and drop what is worth least; False when too large."""
        with self._lock:
            self._drop(key)
            if rows.nbytes > self._budget:
                return False
            self._make_room(rows.nbytes)
            worth = priority(self._age, compute_ms, rows.nbytes, 1)
            held = _Held(rows, compute_ms, 1, worth, next(self._tickets))
            self._held[key] = held
            self._bytes += rows.nbytes
            heapq.heappush(self._heap, (held.priority, held.ticket, key))
            self._tidy()
            return True

    def discard(self, key: bytes) -> None:
        """Forget what `key` has, if anything."""
        with self._lock:
            self._drop(key)
            self._tidy()

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._held.clear()
            self._heap.clear()
            self._bytes = 0

    def stats(self) -> MemoryStats:
        """What is held and what happened so far."""
        with self._lock:
            counts = (self._hits, self._misses, self._evictions)
            return MemoryStats(len(self._held), self._bytes, self._budget, *counts)

    def _drop(self, key: bytes) -> None:
        held = self._held.pop(key, None)
        if held is not None:
            self._bytes -= held.rows.nbytes

    def _make_room(self, size: int) -> None:
        while self._bytes + size > self._budget:
            worth, ticket, key = heapq.heappop(self._heap)
            held = self._held.get(key)
            if held is None or held.ticket != ticket:
                continue  # forgotten or replaced since
            if held.priority > worth:
                heapq.heappush(self._heap, (held.priority, ticket, key))
                continue  # used since
            self._age = worth
            self._evictions += 1
            self._drop(key)

    def _tidy(self) -> None:
        """Drop the heap's notes of units that are gone, before they outnumber the others."""
        if len(self._heap) > 2 * len(self._held) + 64:
            self._heap = [(held.priority, held.ticket, key) for key, held in self._held.items()]
            heapq.heapify(self._heap)
