"""The store's folder: files found by key, written whole or not at all, set aside when wrong.

A file is read into memory and never mapped: the pages of a mapped file that somebody truncates raise SIGBUS.
It is not flushed to the disk before it gets its name: what a power failure tears has the wrong checksum and
is a miss, which costs one computation, where a flush would cost milliseconds each time.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import stat
import time
from collections.abc import Container, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engine.kv.container import ALIGNMENT, HEADER_BYTES, Damaged, Facts, read_header
from engine.kv.rows import Bytes

SUFFIX = ".kv"
DRAFT = "draft-"
MAX_FILE_BYTES = 1 << 30
# A writer locks its draft right after creating it; a younger one may not be locked yet.
DRAFT_SECONDS = 60
QUARANTINE = "quarantine"
QUARANTINE_FILES = 16
QUARANTINE_BYTES = 64_000_000
LOCK_SECONDS = 2.0
# Backup programs pass over a folder with this file: https://bford.info/cachedir/
TAG = "CACHEDIR.TAG"
TAG_TEXT = """Signature: 8a477f597d28d172789f06886806bc55
# Steerway keeps here what a model computed from documents. It reveals their text, and can be deleted.
"""
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
_FAN = re.compile(r"[0-9a-f]{2}")
_NAME = re.compile(r"[0-9a-f]{64}" + re.escape(SUFFIX))


@dataclass(frozen=True)
class Found:
    """A file of the store as the folder lists it."""

    key: bytes
    path: Path
    bytes: int
    changed_at: float


class Folder:
    """`path` as a store of files. Nothing is created before something is written."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def check(self) -> None:
        """Raise OSError when the folder exists and is not this user's own; take others' rights away."""
        try:
            status = self.path.stat()
        except FileNotFoundError:
            return
        if not stat.S_ISDIR(status.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, "it is not a folder", str(self.path))
        if status.st_uid != os.geteuid():
            raise PermissionError(errno.EPERM, "it belongs to another user", str(self.path))
        if stat.S_IMODE(status.st_mode) & 0o077:
            self.path.chmod(0o700)

    def create(self) -> None:
        """Make the folder, for this user alone. Raises OSError."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.mkdir(mode=0o700, exist_ok=True)
        self.check()
        with suppress(FileExistsError), os.fdopen(os.open(self.path / TAG, _CREATE, 0o600), "w") as file:
            file.write(TAG_TEXT)

    def path_of(self, key: bytes) -> Path:
        """Where the file of `key` is: 256 folders by the first byte, so that none grows long."""
        name = key.hex()
        return self.path / name[:2] / f"{name}{SUFFIX}"

    def read(self, path: Path, *, sizes: Container[int] | None = None) -> Bytes:
        """The file's bytes, aligned for vector loads.

        Raises Damaged when its length is none of `sizes` (nothing is read then) or changes while reading,
        OSError when there is none that is this user's.
        """
        handle = os.open(path, _READ)
        try:
            size = _length(handle, path)
            if size > MAX_FILE_BYTES or (sizes is not None and size not in sizes):
                raise Damaged(f"{size} bytes are not what its tokens make")
            room = np.empty(size + ALIGNMENT, dtype=np.uint8)
            start = -room.ctypes.data % ALIGNMENT
            data = room[start : start + size]
            _fill(handle, data.data)
        finally:
            os.close(handle)
        return data

    def facts(self, path: Path) -> Facts:
        """What the file's header says. Raises Damaged or OSError."""
        handle = os.open(path, _READ)
        try:
            return read_header(os.read(handle, HEADER_BYTES), _length(handle, path))
        finally:
            os.close(handle)

    def write(self, path: Path, *parts: bytes | Bytes) -> None:
        """Write a file under its final name in one step. Raises OSError, and leaves nothing then."""
        draft = path.with_name(DRAFT + secrets.token_hex(8))
        handle = _create(draft)
        try:
            try:
                _lock(handle, fcntl.LOCK_EX)
                _write(handle, [_view(part) for part in parts])
            finally:
                os.close(handle)
            draft.replace(path)
        except BaseException:
            with suppress(OSError):
                draft.unlink()
            raise

    def length(self, key: bytes) -> int | None:
        """Bytes of the file of `key`, or None. Raises OSError when that cannot be known."""
        try:
            return self.path_of(key).lstat().st_size
        except FileNotFoundError:
            return None

    def remove(self, path: Path) -> None:
        """Delete a file, if it is there. Raises OSError when it cannot be."""
        path.unlink(missing_ok=True)

    def units(self) -> Iterator[Found]:
        """Every file with a key's name."""
        for entry in self._entries():
            if _NAME.fullmatch(entry.name):
                with suppress(FileNotFoundError):
                    status = entry.stat(follow_symlinks=False)
                    if stat.S_ISREG(status.st_mode):
                        key = bytes.fromhex(entry.name.removesuffix(SUFFIX))
                        yield Found(key, Path(entry.path), status.st_size, status.st_mtime)

    def sweep(self, *, older_seconds: float = DRAFT_SECONDS) -> int:
        """Delete drafts whose writer is gone; how many there were."""
        return sum(_abandoned(path, older_seconds) for path in self.drafts())

    def drafts(self) -> list[Path]:
        """Files that are being written, or were when their writer died."""
        return [Path(entry.path) for entry in self._entries() if entry.name.startswith(DRAFT)]

    def remove_empty(self) -> None:
        """Delete the folders that hold nothing any more."""
        for entry in _listed(self.path):
            if _FAN.fullmatch(entry.name) or entry.name == QUARANTINE:
                with suppress(OSError):
                    Path(entry.path).rmdir()

    def _entries(self) -> Iterator[os.DirEntry[str]]:
        for fan in _listed(self.path):
            if _FAN.fullmatch(fan.name):
                yield from _listed(Path(fan.path))

    def set_aside(self, path: Path) -> None:
        """Move a wrong file into the quarantine, and drop the oldest there beyond its bounds."""
        aside = self.path / QUARANTINE
        aside.mkdir(mode=0o700, exist_ok=True)
        path.replace(aside / f"{path.stem}-{secrets.token_hex(4)}{SUFFIX}")
        count = size = 0
        for found in sorted(self.quarantined(), key=lambda found: -found.changed_at):
            count, size = count + 1, size + found.bytes
            if count > QUARANTINE_FILES or size > QUARANTINE_BYTES:
                found.path.unlink(missing_ok=True)

    def quarantined(self) -> list[Found]:
        """The files set aside; `changed_at` is when."""
        found = []
        for entry in _listed(self.path / QUARANTINE):
            with suppress(FileNotFoundError):
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(status.st_mode):
                    found.append(Found(b"", Path(entry.path), status.st_size, status.st_ctime))
        return found

    @contextmanager
    def locked(self, *, alone: bool) -> Iterator[None]:
        """Hold the folder's lock, with others or alone. Raises OSError after LOCK_SECONDS in vain.

        The kernel frees it when its holder dies. Where a file system has no locks, there is none.
        """
        handle = os.open(self.path / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            _lock(handle, fcntl.LOCK_EX if alone else fcntl.LOCK_SH, seconds=LOCK_SECONDS)
            yield
        finally:
            os.close(handle)


def _listed(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _length(handle: int, path: Path) -> int:
    status = os.fstat(handle)
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is not a file", str(path))
    if status.st_uid != os.geteuid():
        raise PermissionError(errno.EPERM, "it belongs to another user", str(path))
    return status.st_size


def _fill(handle: int, room: memoryview) -> None:
    while room:
        count = os.readv(handle, [room])
        if not count:
            raise Damaged("it was cut short while being read")
        room = room[count:]


def _create(draft: Path) -> int:
    try:
        return os.open(draft, _CREATE, 0o600)
    except FileNotFoundError:
        draft.parent.mkdir(mode=0o700, exist_ok=True)
        return os.open(draft, _CREATE, 0o600)


def _view(part: bytes | Bytes) -> memoryview:
    return memoryview(part) if isinstance(part, bytes) else part.data


def _write(handle: int, parts: list[memoryview]) -> None:
    while parts:
        count = os.writev(handle, parts)
        while parts and count >= len(parts[0]):
            count -= len(parts.pop(0))
        if parts:
            parts[0] = parts[0][count:]


def _lock(handle: int, how: int, *, seconds: float = 0.0) -> None:
    until = time.monotonic() + seconds
    while True:
        try:
            return fcntl.flock(handle, how | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                raise
            time.sleep(0.005)
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.EINVAL, errno.ENOSYS):
                raise
            return None


def _abandoned(draft: Path, older_seconds: float) -> bool:
    """Whether a draft was nobody's, and is gone now."""
    try:
        if time.time() - draft.lstat().st_mtime < older_seconds:
            return False
        # Over NFS an exclusive lock takes a file open for writing.
        handle = os.open(draft, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        finally:
            os.close(handle)
        draft.unlink()
    except OSError:
        return False
    return True
