"""What this user did here: runs, the current step, texts that were pinned. Never in the journal file.

One SQLite file, shared by the TUI, editors and headless runs (WAL, a busy timeout, short transactions).
It is a convenience: a damaged file is set aside, a folder that cannot be written is replaced by the
user's own state folder, and `problems` says so. Nothing here is ever fatal.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from engine.settings import folders

BUSY_TIMEOUT_SECONDS = 5.0
KEPT_RUNS = 20
KEPT_PINS = 1000
PIN_LIMIT_BYTES = 1_000_000

_SCHEMA: dict[str, dict[str, type]] = {
    "runs": {
        "id": int,
        "journal": str,
        "key": str,
        "kind": str,
        "exit": int,
        "ms": float,
        "source_digest": str,
        "output_path": str,
        "ended": str,
    },
    "steps": {"journal": str, "step": str},
    "places": {"name": str, "value": str},
    "pins": {"sha256": str, "text": str, "used": str},
}
_PRIMARY = {"runs": "id", "steps": "journal", "places": "name", "pins": "sha256"}

T = TypeVar("T")


@dataclass(frozen=True)
class Run:
    """One run of a cell. `exit` is None when it was interrupted or never ended; `ended` is UTC, ISO 8601."""

    journal: str
    key: str
    kind: str
    exit: int | None
    ms: float
    source_digest: str
    output_path: str
    ended: str


def open_state(root: Path, *, shared: bool = False) -> State:
    """The state of the workspace at `root`: its `.steerway/state.db`, or the user's state folder.

    `shared` roots (`/`, the home folder, `/tmp`) get no folder of ours.
    """
    if not shared:
        local = State(root / ".steerway" / "state.db")
        if not local.in_memory:
            return local
        local.close()
    name = hashlib.blake2b(str(root).encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()
    spare = State(folders().state / "workspaces" / f"{root.name or 'root'}-{name}" / "state.db")
    where = "memory, lost at exit" if spare.in_memory else str(spare.folder)
    if not shared or spare.in_memory:
        spare.problems = (f"{root / '.steerway'} cannot be written, state is kept in {where}",)
    return spare


class State:
    """The open database. Safe to share between threads and processes. Close it, or use it in a `with`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.folder = path.parent
        self.problems: tuple[str, ...] = ()
        self.in_memory = False
        self._lock = threading.RLock()
        self._db: Any = self._connect()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file. Idempotent."""
        with self._lock:
            self._db.conn.close()

    def record_run(
        self,
        journal: str,
        key: str,
        *,
        kind: str,
        exit: int | None,
        ms: float,
        source_digest: str,
        output_path: str,
    ) -> None:
        """Remember a run of cell `key`; the last `KEPT_RUNS` of each cell stay.

        `output_path` is where its output lies: absolute, or relative to this database's folder.
        """
        row = Run(journal, key, kind, exit, ms, source_digest, output_path, _now())

        def write(db: Any) -> None:
            db["runs"].insert(asdict(row))
            db.execute(
                "delete from runs where journal = ? and key = ? and id not in"
                " (select id from runs where journal = ? and key = ? order by id desc limit ?)",
                (journal, key, journal, key, KEPT_RUNS),
            )

        self._write(write)

    def last_run(self, journal: str, key: str) -> Run | None:
        """The newest run of a cell, None if it never ran here."""
        return next(iter(self.runs(journal, key, limit=1)), None)

    def runs(self, journal: str, key: str | None = None, *, limit: int = KEPT_RUNS) -> tuple[Run, ...]:
        """Runs of a journal or of one of its cells, newest first."""
        cell, values = (" and key = :key", {"key": key}) if key is not None else ("", {})
        columns = ", ".join(Run.__dataclass_fields__)
        sql = f"select {columns} from runs where journal = :journal{cell} order by id desc limit :limit"
        rows = self._rows(sql, {"journal": journal, "limit": limit, **values})
        return tuple(Run(*row) for row in rows)

    def output(self, run: Run) -> Path | None:
        """The file that holds a run's output, None when there is none (any more)."""
        path = self.folder / run.output_path
        return path if run.output_path and path.is_file() else None

    def current_step(self, journal: str) -> str | None:
        """The key of the step this user is at in `journal`."""
        return self._value("select step from steps where journal = ?", journal)

    def set_current_step(self, journal: str, step: str | None) -> None:
        """Be at `step`; None forgets."""
        self._put("steps", {"journal": journal, "step": step or ""})

    def place(self, name: str) -> str | None:
        """A remembered place by name, such as the active journal."""
        return self._value("select value from places where name = ?", name)

    def set_place(self, name: str, value: str) -> None:
        """Remember a place."""
        self._put("places", {"name": name, "value": value})

    def remember_pin(self, sha256: str, text: str) -> None:
        """Keep the text that a pin stands for, so that a later drift can be shown as a diff."""
        if len(text) > PIN_LIMIT_BYTES or self._value("select sha256 from pins where sha256 = ?", sha256):
            return

        def write(db: Any) -> None:
            db["pins"].upsert({"sha256": sha256, "text": text, "used": _now()}, pk="sha256")
            db.execute(
                "delete from pins where sha256 not in (select sha256 from pins order by used desc limit ?)",
                (KEPT_PINS,),
            )

        self._write(write)

    def pinned_text(self, prefix: str) -> str | None:
        """The text whose sha256 starts with `prefix` (hex), None when it was never read here."""
        return self._value(
            "select text from pins where substr(sha256, 1, ?) = ? limit 1", len(prefix), prefix.lower()
        )

    def _put(self, table: str, row: dict[str, str]) -> None:
        self._write(lambda db: db[table].upsert(row, pk=_PRIMARY[table]))

    def _value(self, sql: str, *values: object) -> str | None:
        row = next(iter(self._rows(sql, values)), None)
        return str(row[0]) if row and row[0] else None

    def _rows(self, sql: str, values: object) -> list[tuple[Any, ...]]:
        return self._guarded(lambda: list(self._db.execute(sql, values).fetchall())) or []

    def _write(self, write: Callable[[Any], object]) -> None:
        def transact() -> None:
            with _transaction(self._db):
                write(self._db)

        self._guarded(transact)

    def _guarded(self, work: Callable[[], T]) -> T | None:
        """Do `work`; a damaged file is set aside and `work` done once more on a fresh one."""
        with self._lock:
            try:
                return work()
            except sqlite3.OperationalError as error:  # locked, full, gone read-only: this once is lost
                self._say(f"{self.path} could not be used ({error})")
                return None
            except sqlite3.DatabaseError:
                self._set_aside()
            try:
                return work()
            except sqlite3.DatabaseError as error:
                self._say(f"{self.path} could not be used ({error})")
                return None

    def _say(self, problem: str) -> None:
        if problem not in self.problems:
            self.problems = (*self.problems, problem)

    def _connect(self) -> Any:
        try:
            _make_folder(self.folder)
            return _opened(str(self.path))
        except sqlite3.OperationalError as error:
            return self._memory(str(error))
        except sqlite3.DatabaseError:
            return self._fresh()
        except OSError as error:
            return self._memory(error.strerror or str(error))

    def _memory(self, why: str) -> Any:
        self.in_memory = True
        self._say(f"{self.path} cannot be written ({why}), state is lost at exit")
        return _opened(":memory:")

    def _set_aside(self) -> None:
        self._db.conn.close()
        self._db = self._fresh()

    def _fresh(self) -> Any:
        spoilt = self.path.with_name(f"{self.path.name}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%S%f}")
        try:
            self.path.rename(spoilt)
            for suffix in ("-wal", "-shm"):
                self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
            self._say(f"{self.path} was damaged and set aside as {spoilt.name}")
            return _opened(str(self.path))
        except (OSError, sqlite3.DatabaseError) as error:
            return self._memory(str(error))


def _opened(path: str) -> Any:
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_SECONDS, check_same_thread=False)
    try:
        db = _database()(connection, execute_plugins=False)
        if db.journal_mode != "wal":
            _try_wal(connection)
        connection.execute("pragma synchronous = normal")  # safe in WAL; an fsync a commit is not needed
        _create(db)
    except BaseException:
        connection.close()
        raise
    weakref.finalize(db, connection.close)  # for whoever forgets: Python 3.13 warns of open connections
    return db


def _database() -> Any:
    """sqlite_utils.Database; the library would import numpy, which no command needs to start."""
    alone = "numpy" not in sys.modules and threading.active_count() == 1
    if alone:
        # Makes its optional `import numpy` fail; another thread's would fail as well, so there must be none.
        sys.modules["numpy"] = None  # type: ignore[assignment]
    try:
        from sqlite_utils import Database
    finally:
        if alone:
            del sys.modules["numpy"]
    return Database


def _try_wal(connection: sqlite3.Connection) -> None:
    try:
        connection.execute("pragma journal_mode = wal").fetchall()
    except sqlite3.OperationalError:  # some network file systems: the rollback journal does as well
        pass


def _create(db: Any) -> None:
    present = set(db.table_names())
    if present.issuperset(_SCHEMA):
        with _transaction(db):  # a folder that became read-only shows now, not at the first run
            db["places"].upsert({"name": "opened", "value": _now()}, pk="name")
        return
    with _transaction(db):
        for table, columns in _SCHEMA.items():
            db[table].create(columns, pk=_PRIMARY[table], if_not_exists=True)
        db["runs"].create_index(["journal", "key"], if_not_exists=True)


@contextmanager
def _transaction(db: Any) -> Iterator[None]:
    db.conn.execute("begin immediate")
    try:
        yield
    except BaseException:
        db.conn.rollback()
        raise
    db.conn.commit()


def _make_folder(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):
        raise PermissionError(13, "read-only")
    ignore = folder / ".gitignore"
    if folder.name == ".steerway" and not ignore.exists():
        ignore.write_text("*\n", encoding="ascii")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")
