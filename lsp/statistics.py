"""What was shown and what was accepted, kept on this machine: counts, sizes and times, never any text."""

from __future__ import annotations

import sqlite3
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from lsp.history import Record, now


class Statistics:
    """Rows in `suggestions.db` of the user's state folder, written on a thread of its own.

    A folder that cannot be written turns this off; nobody's editing stops for it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._database: Any = None
        self._works = True
        # One thread, because an sqlite3 connection belongs to the thread that opened it.
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="steerway-statistics")

    def shown(self, record: Record) -> Future[None]:
        """A suggestion went to the editor."""
        return self._writer.submit(self._insert, "shown", record)

    def accepted(self, record: Record) -> Future[None]:
        """The person took it."""
        return self._writer.submit(self._insert, "accepted", record)

    def close(self) -> None:
        """Write what waits, then close. Idempotent."""
        self._writer.shutdown(wait=True)
        if self._database is not None:
            self._database.conn.close()
            self._database = None

    def _insert(self, event: str, record: Record) -> None:
        if not self._works:
            return
        row = {
            "at": now(),
            "event": event,
            "language": record.language,
            "model": record.model,
            "trigger": record.trigger,
            "characters": record.characters,
            "documents": len(record.documents),
            "tokens_computed": record.tokens_computed,
            "tokens_generated": record.tokens_generated,
            "first_token_ms": record.first_token_ms,
            "total_ms": record.total_ms,
        }
        try:
            self._open()["events"].insert(row, alter=True)
        except (OSError, sqlite3.Error):
            self._works = False

    def _open(self) -> Any:
        if self._database is None:
            import sqlite_utils

            self._path.parent.mkdir(parents=True, exist_ok=True)
            # The executor's thread opens and writes; `close` runs after it has ended.
            connection = sqlite3.connect(self._path, check_same_thread=False)
            self._database = sqlite_utils.Database(connection)
            self._database.enable_wal()
        return self._database
