"""Results that survive a kill: a JSON line for each piece of work, behind one that says which run it is."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from engine.errors import UsageError

FILE = "results.jsonl"


class Results:
    """The finished pieces of one run, by key; a new one is on disk when `add` returns.

    Raises UsageError when the file is of another run and `fresh` is off, or when another process writes it.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any], *, fresh: bool = False) -> None:
        self.path = folder / FILE
        self._identity = json.loads(json.dumps(identity))
        self._done: dict[str, Any] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file: TextIO = self.path.open("a+", encoding="utf-8")
        except OSError as error:
            raise UsageError(f"{folder} cannot be written", hint=str(error), subject=folder) from error
        try:
            self._lock()
            self._begin(fresh)
        except BaseException:
            self._file.close()
            raise

    def __contains__(self, key: str) -> bool:
        return key in self._done

    def __len__(self) -> int:
        return len(self._done)

    def get(self, key: str) -> Any:
        """What was found for `key`, None when it is not done."""
        return self._done.get(key)

    def values(self) -> list[Any]:
        """What was found, in the order it was."""
        return list(self._done.values())

    def add(self, key: str, found: Mapping[str, Any]) -> None:
        """Note a finished piece."""
        self._write({"key": key, "found": found})
        self._done[key] = json.loads(json.dumps(found))

    def close(self) -> None:
        """Let another process have the file."""
        self._file.close()

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UsageError(
                f"another study writes {self.path}",
                hint="wait for it, or give another --out",
                subject=self.path,
            ) from None

    def _begin(self, fresh: bool) -> None:
        lines = [] if fresh else list(self._read())
        if lines and lines[0].get("run") != self._identity:
            differing = _differing(lines[0].get("run"), self._identity)
            raise UsageError(
                f"{self.path} is of another run ({differing})",
                hint="--fresh overwrites it; --out gives this run a folder of its own",
                subject=self.path,
            )
        self._done = {line["key"]: line["found"] for line in lines[1:] if "key" in line and "found" in line}
        # Written anew, so that half a line of a killed run never joins the next one.
        kept = [{"run": self._identity}, *({"key": key, "found": found} for key, found in self._done.items())]
        draft = self.path.with_suffix(".draft")
        draft.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
        draft.replace(self.path)
        replaced = self.path.open("a", encoding="utf-8")
        fcntl.flock(replaced, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._file.close()
        self._file = replaced

    def _read(self) -> Iterator[dict[str, Any]]:
        self._file.seek(0)
        for line in self._file:
            try:
                found = json.loads(line)
            except ValueError:
                return  # a line cut by a kill; nothing behind it was ever written
            if not isinstance(found, dict):
                return
            yield found

    def _write(self, line: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())


@contextmanager
def opened(folder: Path, identity: Mapping[str, Any], *, fresh: bool = False) -> Iterator[Results]:
    """Results that are closed at the end."""
    results = Results(folder, identity, fresh=fresh)
    try:
        yield results
    finally:
        results.close()


def _differing(old: Any, new: Mapping[str, Any]) -> str:
    keys = [key for key in new if not isinstance(old, dict) or old.get(key) != new[key]]
    return "another " + ", ".join(keys or ["content"])
