"""The tier on disk: rows by key, shared by every process of this user, surviving all of them.

No failure here is an error to anybody: a wrong, missing or unreadable file is a miss, a full disk or a
forbidden folder is a `put` that says False, and each is logged once. Computing again is always right.
"""

from __future__ import annotations

import logging
import secrets
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, TypeVar

from engine.errors import EngineError
from engine.kv import container
from engine.kv.budgets import Budgets, free_bytes, worth_writing
from engine.kv.container import Damaged
from engine.kv.disk import Disk, Pruned, Verified, Watcher
from engine.kv.keys import KEY_BYTES, SALT_BYTES, tenant_salt
from engine.kv.rows import RowKind, Rows, Shape
from engine.settings import Settings, folders

log = logging.getLogger(__name__)

# Uses remembered before they are written down without a put to go along with.
MAX_NOTED = 4096

_P = ParamSpec("_P")
_T = TypeVar("_T")


@dataclass(frozen=True)
class StoreStats:
    """What all processes hold, the limits, and what happened in this one since its start. Sizes in bytes.

    `problem` says why the store is off, or is empty.
    """

    folder: Path
    kind: RowKind
    units: int
    bytes: int
    budget_bytes: int
    floor_bytes: int
    free_bytes: int
    quarantined: int
    quarantined_bytes: int
    hits: int
    misses: int
    damaged: int
    writes: int
    refused: int
    evictions: int
    problem: str


class Store:
    """Rows on disk in at most `budget_bytes`, leaving `floor_bytes` of the file system free.

    Safe for threads, and for other processes on the same folder. Constructing it looks at the folder's
    owner only, and never fails: `problem` says why a store is off. `kind` is what is written. Rows stored
    as f16 are read whatever it is; rows stored as q8_0 are a miss where it is f16.
    """

    def __init__(self, folder: Path, *, budget_bytes: int, floor_bytes: int, kind: RowKind = "q8_0") -> None:
        self.kind = kind
        self._disk = Disk(folder, budget_bytes=budget_bytes, floor_bytes=floor_bytes)
        self._lock = threading.Lock()
        self._uses: Counter[bytes] = Counter()
        self._gone: set[bytes] = set()
        self._counts: Counter[str] = Counter()
        self._told: set[str] = set()
        self.problem = self._problem()

    @classmethod
    def of(cls, settings: Settings, *, folder: Path | None = None) -> Store:
        """The user's store under the settings' budgets; `folder` instead of `kv` in the cache folder."""
        budgets = Budgets.of(settings)
        return cls(
            folder or folders().cache / "kv",
            budget_bytes=budgets.disk_bytes,
            floor_bytes=budgets.floor_bytes,
            kind=budgets.kind,
        )

    def _problem(self) -> str:
        if self._disk.budget_bytes <= 0:
            return "nothing is kept on disk: its budget is 0"
        try:
            self._disk.folder.check()
        except OSError as error:
            self._tell(problem := f"{self.folder} is not used: {error.strerror}")
            return problem
        return ""

    @property
    def folder(self) -> Path:
        """Where the files are."""
        return self._disk.folder.path

    def salt(self) -> bytes:
        """32 random bytes of this user for `identity_key`; see `tenant_salt`."""
        if not self.problem:
            with suppress(OSError):
                self._disk.folder.create()
                return tenant_salt(self.folder)
        return secrets.token_bytes(SALT_BYTES)

    def has(self, key: bytes) -> bool:
        """Whether there is a file for `key`; only `get` knows whether it is right."""
        try:
            return not self.problem and self._disk.folder.path_of(key).is_file()
        except OSError:
            return False

    def get(self, key: bytes, *, tokens: int, base: int, shape: Shape) -> Rows | None:
        """The rows of `tokens` tokens from position `base`, or None.

        A file that is damaged, or is not what was asked for, goes into quarantine and is a miss.
        """
        usable = not self.problem and len(key) == KEY_BYTES
        rows = self._read(key, tokens, base, shape) if usable else None
        with self._lock:
            self._counts["misses" if rows is None else "hits"] += 1
            if rows is not None:
                self._uses[key] += 1
            crowded = len(self._uses) > MAX_NOTED
        if crowded:
            self.flush()
        return rows

    def _read(self, key: bytes, tokens: int, base: int, shape: Shape) -> Rows | None:
        path = self._disk.folder.path_of(key)
        try:
            sizes = container.lengths(shape, tokens)
            data = self._disk.folder.read(path, sizes=sizes)
            if self.kind == "f16" and sizes[len(data)] != "f16":
                return None
            return container.parse(data, key=key, tokens=tokens, base=base, shape=shape).rows
        except FileNotFoundError:
            return None
        except Damaged as damage:
            self._set_aside(key, path, str(damage))
        except OSError as error:
            self._tell(f"keys and values on disk cannot be read: {error.strerror}")
        return None

    def _set_aside(self, key: bytes, path: Path, reason: str) -> None:
        log.warning("%s is set aside: %s", path.name, reason)
        with self._lock:
            self._counts["damaged"] += 1
            self._gone.add(key)
        with suppress(OSError):
            self._disk.folder.set_aside(path)

    def put(self, key: bytes, rows: Rows, *, compute_ms: float) -> bool:
        """Write `rows`, which took `compute_ms` to compute; whether they are on disk now.

        False when they are not worth it (reading would not be clearly cheaper), not finite, too large,
        or cannot be written.
        """
        usable = not self.problem and len(key) == KEY_BYTES
        kept = bool(usable and self._guarded(self._write, key, rows, compute_ms))
        if not kept:
            with self._lock:
                self._counts["refused"] += 1
        return kept

    def _write(self, key: bytes, rows: Rows, compute_ms: float) -> bool:
        kind: RowKind = self.kind if rows.shape.holds(self.kind) else "f16"
        if kind == "f16" and rows.kind != "f16":
            return False
        size = container.layout(rows.shape, rows.tokens, kind).file_bytes
        if self._disk.folder.length(key) == size:
            return True
        if not worth_writing(compute_ms, size) or not rows.finite():
            return False
        self._note()
        return self._disk.write(key, rows.to(kind), compute_ms)

    def _note(self) -> None:
        """Bring the index up to date with what was read: once in a while, not once a read."""
        with self._lock:
            uses, self._uses = self._uses, Counter()
            gone, self._gone = self._gone, set()
        if (uses or gone) and self._disk.index.exists():
            self._disk.note(uses, gone)

    def _guarded(self, work: Callable[_P, _T], *values: _P.args, **options: _P.kwargs) -> _T | None:
        """What `work` returns, or None where the disk, the permissions or the index say no."""
        try:
            return work(*values, **options)
        except (OSError, sqlite3.Error) as error:
            self._tell(f"keys and values are not kept on disk: {_reason(error)}")
        return None

    def _tell(self, line: str) -> None:
        if line not in self._told:
            self._told.add(line)
            log.warning("%s", line)

    def flush(self) -> None:
        """Write down which units were used since the last put, so that they are kept longer."""
        if not self.problem:
            self._guarded(self._note)

    def close(self) -> None:
        """Flush. Nothing is held open, so a closed store can still be used."""
        self.flush()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def stats(self) -> StoreStats:
        """What is held, the limits and the counts. Costs one look into the index."""
        units, size = (self._guarded(self._disk.totals) if not self.problem else None) or (0, 0)
        aside = self._disk.folder.quarantined()
        return StoreStats(
            folder=self.folder,
            kind=self.kind,
            units=units,
            bytes=size,
            budget_bytes=self._disk.budget_bytes,
            floor_bytes=self._disk.floor_bytes,
            free_bytes=self._guarded(free_bytes, _existing(self.folder)) or 0,
            quarantined=len(aside),
            quarantined_bytes=sum(found.bytes for found in aside),
            hits=self._counts["hits"],
            misses=self._counts["misses"],
            damaged=self._counts["damaged"],
            writes=self._disk.writes,
            refused=self._counts["refused"],
            evictions=self._disk.evictions,
            problem=self.problem,
        )

    def verify(self, watcher: Watcher) -> Verified:
        """Read every file and compare every checksum; what is wrong goes into quarantine.

        Raises EngineError where the folder cannot be used, as do `prune` and `clear`.
        """
        return self._upkeep(self._disk.verify, watcher)

    def prune(self, *, budget_bytes: int | None = None, unused_days: float | None = None) -> Pruned:
        """Delete leftovers, units not used for `unused_days`, and what exceeds the budget (or this one)."""
        self.flush()
        return self._upkeep(self._disk.prune, budget_bytes=budget_bytes, unused_days=unused_days)

    def clear(self) -> Pruned:
        """Delete everything but the salt. What other processes have in memory they may write again."""
        with self._lock:
            self._uses, self._gone = Counter(), set()
        return self._upkeep(self._disk.clear)

    def _upkeep(self, work: Callable[_P, _T], *values: _P.args, **options: _P.kwargs) -> _T:
        hint = f"look at {self.folder}"
        try:
            self._disk.folder.check()
            return work(*values, **options)
        except (OSError, sqlite3.Error) as error:
            message = f"the cache cannot be worked on: {_reason(error)}"
            raise EngineError(message, hint=hint, subject=self.folder) from error


def _reason(error: OSError | sqlite3.Error) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    return next((path for path in (folder, *folder.parents) if path.exists()), Path("/"))
