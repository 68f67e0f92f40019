"""Between computing a unit and writing it: what an edit replaces within seconds never reaches the disk."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from engine.kv.rows import Rows
from engine.kv.store import Store

# While somebody types, the unit under the cursor is computed anew at every pause; a pause is shorter.
SETTLE_SECONDS = 5.0
LIMIT_BYTES = 64_000_000


@dataclass(frozen=True, eq=False)
class _Waiting:
    key: bytes
    rows: Rows
    compute_ms: float
    due: float


class Settling:
    """Units that wait to be written to `store`, oldest first, in at most `limit_bytes`. Safe for threads.

    A `place` is where a unit stands (a document's name and the unit's number in it): what comes to a place
    later replaces what still waits there.
    """

    def __init__(
        self,
        store: Store,
        *,
        settle_seconds: float = SETTLE_SECONDS,
        limit_bytes: int = LIMIT_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._settle_seconds = settle_seconds
        self._limit = limit_bytes
        self._clock = clock
        self._waiting: OrderedDict[Hashable, _Waiting] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, key: bytes, rows: Rows, *, compute_ms: float, place: Hashable = None) -> None:
        """Have `rows` written when nothing has replaced them for a while; too many: the oldest at once."""
        place = key if place is None else place
        with self._lock:
            self._drop(place)
            self._waiting[place] = _Waiting(key, rows, compute_ms, self._clock() + self._settle_seconds)
            self._bytes += rows.nbytes
        while self._bytes > self._limit and self._write(self._oldest()):
            pass

    def write_due(self) -> int:
        """Write the oldest unit that has settled, if there is one; how many others have."""
        now = self._clock()
        oldest = self._oldest()
        if oldest is not None and oldest.due <= now:
            self._write(oldest)
        with self._lock:
            return sum(waiting.due <= now for waiting in self._waiting.values())

    def flush(self) -> None:
        """Write everything that waits: the program ends."""
        while self._write(self._oldest()):
            pass

    def _oldest(self) -> _Waiting | None:
        with self._lock:
            return next(iter(self._waiting.values()), None)

    def _write(self, oldest: _Waiting | None) -> bool:
        if oldest is None:
            return False
        with self._lock:
            for place, waiting in self._waiting.items():
                if waiting is oldest:
                    self._drop(place)
                    break
        self._store.put(oldest.key, oldest.rows, compute_ms=oldest.compute_ms)
        return True

    def _drop(self, place: Hashable) -> None:
        waiting = self._waiting.pop(place, None)
        if waiting is not None:
            self._bytes -= waiting.rows.nbytes
