"""The store's folder and its index, kept in step: writing, evicting, checking, clearing. Raises what fails.

The order of things makes a crash harmless. Bytes are reserved in the index before they are written, and a
file is deleted before it is forgotten, so the index never says less than the folder holds: a process killed
at any point leaves a reservation or a draft that the next check removes, never a file that nobody counts.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from engine.kv import container
from engine.kv.budgets import free_bytes, on_disk
from engine.kv.container import Damaged
from engine.kv.files import Folder, Found
from engine.kv.index import Index, Ledger, Unit, is_damage
from engine.kv.rows import Rows

log = logging.getLogger(__name__)

# The index is compared with the files this often, before a write.
CHECK_SECONDS = 3600.0
# Units one write may evict: it is a pause in somebody's idle time, not a spring clean.
MAX_EVICTED = 256

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Watcher(Protocol):
    """Hears how far a long check is."""

    def advance(self, done: int, total: int) -> None:
        """`done` of `total` bytes were read."""
        ...


@dataclass(frozen=True)
class Verified:
    """Files that were read, their bytes, and why each of the damaged ones was set aside, by name."""

    units: int
    bytes: int
    damaged: dict[str, str]


@dataclass(frozen=True)
class Pruned:
    """Units that were deleted, the bytes they took up, and drafts of writers that died."""

    units: int
    bytes: int
    drafts: int


class Disk:
    """Files of rows in `path`, at most `budget_bytes` of them, with `floor_bytes` of the disk left free.

    Every method raises OSError or sqlite3.Error when the file system or another process says no.
    """

    def __init__(self, path: Path, *, budget_bytes: int, floor_bytes: int) -> None:
        self.folder = Folder(path)
        self.index = Index(self.folder)
        self.budget_bytes = budget_bytes
        self.floor_bytes = floor_bytes
        self.writes = 0
        self.evictions = 0
        self._opened = False

    def write(self, key: bytes, rows: Rows, compute_ms: float) -> bool:
        """Write a unit; False when there is no room that eviction can make."""
        self._open()
        parts = container.pack(key, rows, compute_ms=compute_ms)
        size = on_disk(sum(len(part) for part in parts))
        if not self.change(self._reserve, key, size, compute_ms):
            return False
        try:
            self.folder.write(self.folder.path_of(key), *parts)
        except BaseException:
            self.change(Ledger.remove, key)
            raise
        self.change(Ledger.add, key, size, compute_ms, pending=False)
        self.writes += 1
        return True

    def _reserve(self, ledger: Ledger, key: bytes, size: int, compute_ms: float) -> bool:
        if not ledger.total("checked_at"):  # somebody deleted the index since this process looked
            _compare(ledger, self.folder, 0.0)
        if not self._make_room(ledger, size, budget_bytes=self.budget_bytes, limit=MAX_EVICTED):
            return False
        ledger.add(key, size, compute_ms, pending=True)
        return True

    def _make_room(self, ledger: Ledger, size: int, *, budget_bytes: int, limit: int) -> bool:
        """Evict until `size` more bytes fit the budget and leave the floor free; whether they do."""
        held = ledger.total("bytes")
        allowed = min(budget_bytes, held + free_bytes(self.folder.path) - self.floor_bytes)
        if size > budget_bytes:
            return False
        for unit in ledger.worst(limit) if held + size > allowed else ():
            if held + size <= allowed:
                break
            self._delete(ledger, [unit])
            ledger.set_total("age", max(ledger.total("age"), unit.priority))
            held -= unit.bytes
            self.evictions += 1
        return held + size <= allowed

    def _delete(self, ledger: Ledger, units: Iterable[Unit]) -> None:
        for unit in units:
            self.folder.remove(self.folder.path_of(unit.key))
            ledger.remove(unit.key)

    def note(self, uses: Mapping[bytes, int], gone: Iterable[bytes]) -> None:
        """Count uses, and forget units whose file is not there."""
        self.change(self._note, uses, gone)

    def _note(self, ledger: Ledger, uses: Mapping[bytes, int], gone: Iterable[bytes]) -> None:
        ledger.use(uses)
        for key in gone:
            if not self.folder.path_of(key).exists():
                ledger.remove(key)

    def totals(self) -> tuple[int, int]:
        """Units, and bytes they take up."""
        if not self.folder.path.exists():
            return 0, 0
        if not self.index.exists():
            self._open(check_seconds=0.0)
        return self.change(lambda ledger: (int(ledger.total("units")), int(ledger.total("bytes"))))

    def verify(self, watcher: Watcher) -> Verified:
        """Read every file, set aside what is wrong, and compare the index with what is left."""
        files = list(self.folder.units())
        total = sum(found.bytes for found in files)
        damaged: dict[str, str] = {}
        done = 0
        for found in files:
            with suppress(FileNotFoundError):  # evicted meanwhile
                try:
                    _examine(found, container.unpack(self.folder.read(found.path)).key)
                except Damaged as damage:
                    damaged[found.path.name] = str(damage)
                    self.folder.set_aside(found.path)
            done += found.bytes
            watcher.advance(done, total)
        if self.folder.path.exists():
            self._open(check_seconds=0.0)
        return Verified(len(files), total, damaged)

    def prune(self, *, budget_bytes: int | None = None, unused_days: float | None = None) -> Pruned:
        """Delete drafts of dead writers, units not used for `unused_days`, and what exceeds the budget."""
        if not self.folder.path.exists():
            return Pruned(0, 0, 0)
        drafts = self.folder.sweep()
        self._open(check_seconds=0.0)
        before = self.totals()
        self.change(self._prune, self.budget_bytes if budget_bytes is None else budget_bytes, unused_days)
        after = self.totals()
        return Pruned(before[0] - after[0], before[1] - after[1], drafts)

    def _prune(self, ledger: Ledger, budget_bytes: int, unused_days: float | None) -> None:
        if unused_days is not None:
            self._delete(ledger, ledger.unused_since(time.time() - unused_days * 86400))
        self._make_room(ledger, 0, budget_bytes=budget_bytes, limit=-1)

    def clear(self) -> Pruned:
        """Delete every unit, draft and file in quarantine, and begin a new index."""
        if not self.folder.path.exists():
            return Pruned(0, 0, 0)
        with self.index.made_again():
            units, drafts = list(self.folder.units()), self.folder.drafts()
            for path in [*(found.path for found in units + self.folder.quarantined()), *drafts]:
                self.folder.remove(path)
            self.folder.remove_empty()
        return Pruned(len(units), sum(on_disk(found.bytes) for found in units), len(drafts))

    def _open(self, *, check_seconds: float = CHECK_SECONDS) -> None:
        """Before this process writes for the first time: the folder, the index, drafts of the dead."""
        if self._opened and check_seconds:
            return
        self.folder.create()
        try:
            self.index.check()
        except sqlite3.DatabaseError as error:
            self._make_again(error)
        self.change(_compare, self.folder, check_seconds)
        self._opened = True

    def change(
        self, work: Callable[Concatenate[Ledger, _P], _T], *values: _P.args, **options: _P.kwargs
    ) -> _T:
        """What `work` returns of a transaction; once more when the index was damaged and is made again."""
        try:
            with self.index.transaction() as ledger:
                return work(ledger, *values, **options)
        except sqlite3.DatabaseError as error:
            self._make_again(error)
        with self.index.transaction() as ledger:
            return work(ledger, *values, **options)

    def _make_again(self, error: sqlite3.DatabaseError) -> None:
        if not is_damage(error):
            raise error
        log.warning("the index is made again from the files: %s", error)
        with self.index.made_again() as ledger:
            _compare(ledger, self.folder, 0.0)


def _compare(ledger: Ledger, folder: Folder, check_seconds: float) -> None:
    """Make the index say what the folder holds, unless that was done in the last `check_seconds`."""
    now = time.time()
    if 0 <= now - ledger.total("checked_at") < check_seconds:
        return
    folder.sweep()
    files = {found.key: found for found in folder.units()}
    settled = ledger.settled()
    pending = ledger.keys() - set(settled)
    for key in settled.keys() - files.keys():
        ledger.remove(key)
    for key, found in files.items():
        if settled.get(key) != on_disk(found.bytes) and key not in pending:
            _enter(ledger, folder, found)
    ledger.set_total("checked_at", now)


def _enter(ledger: Ledger, folder: Folder, found: Found) -> None:
    """Note a file the index does not know, for what its header says."""
    try:
        facts = folder.facts(found.path)
        _examine(found, facts.key)
        size = on_disk(found.bytes)
        ledger.add(found.key, size, facts.compute_ms, pending=False, used_at=found.changed_at)
    except Damaged:
        folder.set_aside(found.path)
        ledger.remove(found.key)
    except FileNotFoundError:
        ledger.remove(found.key)


def _examine(found: Found, key: bytes) -> None:
    if key != found.key:
        raise Damaged("it holds another unit than its name says")
