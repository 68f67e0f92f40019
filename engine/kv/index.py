"""What the store holds, in one small SQLite file: sizes, costs and uses, for eviction and the budget.

Only writing and upkeep look here; reading a unit takes its name alone. Several processes share it through
SQLite's own locks. It is a cache of what the files say: when it is damaged it is made again from them.

Each transaction opens the file anew, which costs a third of a millisecond and leaves nothing to go stale
across threads, forks and a file replaced by another process. No write-ahead log: it is shared by mapping,
and does not work over a network. Nothing is flushed (`synchronous=OFF`) for the reason files are not.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass

from engine.kv.budgets import MAX_USES, priority
from engine.kv.files import Folder

NAME = "index.sqlite"
BUSY_SECONDS = 2.0
# A reservation older than this belongs to a writer that died; one that is only slow makes it again.
PENDING_SECONDS = 10.0
_VERSION = 1
_SCHEMA = """
CREATE TABLE units(
  key BLOB PRIMARY KEY, bytes INTEGER NOT NULL CHECK(bytes > 0), compute_ms REAL NOT NULL,
  uses INTEGER NOT NULL, priority REAL NOT NULL, used_at REAL NOT NULL, pending_at REAL
) WITHOUT ROWID;
CREATE INDEX by_priority ON units(priority);
CREATE TABLE totals(name TEXT PRIMARY KEY, value NUMERIC NOT NULL) WITHOUT ROWID;
INSERT INTO totals VALUES ('bytes', 0), ('units', 0), ('age', 0.0), ('checked_at', 0.0);
CREATE TRIGGER added AFTER INSERT ON units BEGIN
  UPDATE totals SET value = value + new.bytes WHERE name = 'bytes';
  UPDATE totals SET value = value + 1 WHERE name = 'units';
END;
CREATE TRIGGER removed AFTER DELETE ON units BEGIN
  UPDATE totals SET value = value - old.bytes WHERE name = 'bytes';
  UPDATE totals SET value = value - 1 WHERE name = 'units';
END;
CREATE TRIGGER resized AFTER UPDATE OF bytes ON units BEGIN
  UPDATE totals SET value = value + new.bytes - old.bytes WHERE name = 'bytes';
END;
"""
# Primary result codes that mean the file is wrong: ERROR (a table is missing), CORRUPT, CONSTRAINT,
# MISMATCH, FORMAT, NOTADB. Others mean that it is busy, full or forbidden.
_DAMAGE = {1, 11, 19, 20, 24, 26}


@dataclass(frozen=True)
class Unit:
    """One row: a unit, the bytes it takes up, and what is known of its worth."""

    key: bytes
    bytes: int
    priority: float
    used_at: float


def is_damage(error: sqlite3.Error) -> bool:
    """Whether the index itself is wrong and must be made again."""
    if not isinstance(error, sqlite3.DatabaseError):
        return False
    return (getattr(error, "sqlite_errorcode", 11) & 0xFF) in _DAMAGE


class Ledger:
    """The index inside one transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def total(self, name: str) -> float:
        """One of `bytes`, `units`, `age` (of the last eviction), `checked_at` (against the files)."""
        found = self._connection.execute("SELECT value FROM totals WHERE name = ?", (name,)).fetchone()
        if found is None or not isinstance(found[0], int | float):
            raise sqlite3.DatabaseError(f"no total called {name}")
        value: float = found[0]
        return value

    def set_total(self, name: str, value: float) -> None:
        """Set `age` or `checked_at`."""
        self._connection.execute("UPDATE totals SET value = ? WHERE name = ?", (value, name))

    def add(self, key: bytes, size: int, compute_ms: float, *, pending: bool, used_at: float = 0.0) -> None:
        """Note a unit, or what it has become. A pending one takes up its bytes and is not evicted yet."""
        now = time.time()
        worth = priority(self.total("age"), compute_ms, size, 1)
        self._connection.execute(
            "INSERT INTO units VALUES (?, ?, ?, 1, ?, ?, ?) ON CONFLICT(key) DO UPDATE SET bytes = "
            "excluded.bytes, compute_ms = excluded.compute_ms, priority = max(priority, excluded.priority), "
            "used_at = excluded.used_at, pending_at = excluded.pending_at",
            (key, size, compute_ms, worth, used_at or now, now if pending else None),
        )

    def remove(self, key: bytes) -> None:
        """Forget a unit."""
        self._connection.execute("DELETE FROM units WHERE key = ?", (key,))

    def use(self, counts: Mapping[bytes, int]) -> None:
        """Note how often units were used since the last time."""
        now, age = time.time(), self.total("age")
        self._connection.executemany(
            "UPDATE units SET uses = uses + ?, used_at = ?, "
            f"priority = max(priority, ? + min(uses + ?, {MAX_USES}) * compute_ms / bytes) WHERE key = ?",
            [(count, now, age, count, key) for key, count in counts.items()],
        )

    def worst(self, limit: int) -> list[Unit]:
        """The units to evict first, at most `limit`."""
        return self._units(
            "WHERE pending_at IS NULL OR pending_at NOT BETWEEN ? AND ? ORDER BY priority LIMIT ?",
            (time.time() - PENDING_SECONDS, time.time() + PENDING_SECONDS, limit),
        )

    def unused_since(self, moment: float) -> list[Unit]:
        """The units last used before `moment` (seconds since the epoch)."""
        return self._units("WHERE used_at < ?", (moment,))

    def settled(self) -> dict[bytes, int]:
        """Bytes by key of every unit that is not pending, or has been for too long."""
        return {unit.key: unit.bytes for unit in self.worst(-1)}

    def keys(self) -> set[bytes]:
        """Every key, pending or not."""
        return {row[0] for row in self._connection.execute("SELECT key FROM units")}

    def _units(self, where: str, values: Iterable[float]) -> list[Unit]:
        rows = self._connection.execute(
            f"SELECT key, bytes, priority, used_at FROM units {where}", tuple(values)
        )
        return [Unit(*row) for row in rows]


class Index:
    """The index of `folder`, which must exist when a transaction begins."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._path = folder.path / NAME

    def exists(self) -> bool:
        """Whether there is one."""
        return self._path.is_file()

    @contextmanager
    def transaction(self) -> Iterator[Ledger]:
        """Change the index, all or nothing. Raises OSError or sqlite3.Error; see `is_damage`."""
        with self._folder.locked(alone=False), self._connected() as connection:
            yield Ledger(connection)

    @contextmanager
    def made_again(self) -> Iterator[Ledger]:
        """Throw the index away and fill a new one, while nobody else has it open."""
        with self._folder.locked(alone=True):
            for suffix in ("", "-journal"):
                self._path.with_name(NAME + suffix).unlink(missing_ok=True)
            with self._connected() as connection:
                yield Ledger(connection)

    def check(self) -> None:
        """Read all of it once. Raises sqlite3.DatabaseError when it is damaged."""
        if not self.exists():
            return
        with self._folder.locked(alone=False), self._connected() as connection:
            found = connection.execute("PRAGMA quick_check(1)").fetchone()
            if found != ("ok",):
                raise sqlite3.DatabaseError(str(found))

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        self._create()
        with closing(sqlite3.connect(self._path, timeout=BUSY_SECONDS, isolation_level=None)) as connection:
            connection.execute("PRAGMA synchronous=OFF")
            connection.execute("BEGIN IMMEDIATE")
            try:
                _prepare(connection)
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                raise

    def _create(self) -> None:
        """For this user alone, whatever the umask. An existing one is left alone: closing it frees locks."""
        if not self.exists():
            with suppress(FileExistsError):
                os.close(os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))


def _prepare(connection: sqlite3.Connection) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == _VERSION:
        return
    if version:
        raise sqlite3.DatabaseError(f"an index of version {version}")
    for statement in _statements():
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {_VERSION}")


def _statements() -> list[str]:
    """The schema's statements one by one: `executescript` would commit the transaction first."""
    statements, text = [], ""
    for line in _SCHEMA.splitlines(keepends=True):
        text += line
        if sqlite3.complete_statement(text):
            statements.append(text)
            text = ""
    return statements
