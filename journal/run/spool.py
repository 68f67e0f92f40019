"""Outputs on disk: written while they come, complete, bounded together, outside what is committed.

`<workspace>/.steerway/outputs/<journal>/<cell>.txt` is plain text; a `.ansi` beside it has the colours, if
there were any. Where the workspace is read-only, the same beside its state in the user's state folder.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

from journal.run.escapes import SGR

TOTAL_BYTES = 1 << 30
ONE_BYTES = 1 << 28
_COPY_BYTES = 1 << 20


def outputs_folder(state: Path, journal: str) -> Path:
    """The folder of a journal's outputs beside the workspace's state, made if need be."""
    digest = hashlib.blake2b(journal.encode(), digest_size=4).hexdigest()
    name = re.sub(r"[^\w.-]", "_", Path(journal).name.removesuffix(".journal.md"))[:40] + "-" + digest
    folder = state / "outputs" / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
    except OSError:
        pass
    return Path(tempfile.mkdtemp(prefix="steerway-outputs-"))


class Spool:
    """One output being written; `path` is where it is found when it is finished."""

    def __init__(self, folder: Path, key: str, *, limit_bytes: int = ONE_BYTES) -> None:
        stem = self.stem(folder, key)
        self._part = stem.with_name(f"{stem.name}.part")
        self._colours = stem.with_name(f"{stem.name}.ansi")
        self.path = stem.with_name(f"{stem.name}.txt")
        self._limit = limit_bytes
        self._file: IO[bytes] | None = self._part.open("w+b", buffering=0)
        self._has_colours = False
        self.written_bytes = 0
        self.left_out_bytes = 0

    @staticmethod
    def stem(folder: Path, key: str) -> Path:
        """Where a cell's output files begin, without their endings."""
        return folder / re.sub(r"[^\w-]", "_", key)[:60]

    def write(self, text: str) -> None:
        """Append; past the limit it is counted, not kept."""
        if not text or self._file is None:
            return
        data = text.encode("utf-8", "replace")
        if self.written_bytes + len(data) > self._limit:
            self.left_out_bytes += len(data)
            return
        self._has_colours = self._has_colours or "\x1b" in text
        self._file.write(data)
        self.written_bytes += len(data)

    def rewind(self, lines: int) -> None:
        """Take the last `lines` lines back."""
        if self._file is None or not lines or self.left_out_bytes:
            return
        start = max(0, self.written_bytes - _COPY_BYTES)
        self._file.seek(start)
        block = self._file.read(self.written_bytes - start)
        end = len(block)
        for _ in range(lines + 1):
            cut = block.rfind(b"\n", 0, end)
            if cut < 0:
                end = -1
                break
            end = cut
        self.written_bytes = start + end + 1
        self._file.truncate(self.written_bytes)
        self._file.seek(self.written_bytes)

    def finish(self, tail: str = "") -> Path:
        """Close it; `tail` ends an output that went past the limit. Returns where the plain text is."""
        if self._file is None:
            return self.path
        if self.left_out_bytes:
            self._file.write(f"\n[... {self.left_out_bytes:,} bytes left out ...]\n{tail}".encode())
        self._file.close()
        self._file = None
        if self._has_colours:
            _copy_plain(self._part, self.path)
            self._part.replace(self._colours)
        else:
            self._colours.unlink(missing_ok=True)
            self._part.replace(self.path)
        return self.path


def _copy_plain(source: Path, target: Path) -> None:
    """Copy without colours. Only whole lines are looked at, so no escape is cut in two."""
    pattern = re.compile(SGR.pattern.encode())
    with source.open("rb") as read, target.open("wb") as write:
        while block := read.readlines(_COPY_BYTES):
            write.write(pattern.sub(b"", b"".join(block)))


def prune(folder: Path, *, limit_bytes: int = TOTAL_BYTES, keep: Callable[[Path], bool] | None = None) -> int:
    """Remove the oldest outputs under `folder` until they fit; returns the bytes removed."""
    files = []
    for path in folder.rglob("*"):
        try:
            status = path.stat()
        except OSError:
            continue
        if path.is_file() and not (keep and keep(path)):
            files.append((status.st_mtime, status.st_size, path))
    total, removed = sum(size for _, size, _ in files), 0
    for _, size, path in sorted(files, key=lambda item: item[0]):
        if total - removed <= limit_bytes:
            break
        path.unlink(missing_ok=True)
        removed += size
    return removed
