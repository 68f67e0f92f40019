"""Journals on disk: read with a stamp, saved whole or not at all, and only over the version that was read."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

from journal import recovery
from journal.document import Journal
from journal.errors import (
    JournalConflict,
    JournalExists,
    JournalReadOnly,
    JournalUnreadable,
    JournalUnsaved,
)

_READ_ONLY = {errno.EACCES, errno.EPERM, errno.EROFS}


@dataclass(frozen=True, slots=True)
class Stamp:
    """The version of a file that was read or written last: its hash, and its bytes as the base of a merge."""

    digest: str
    data: bytes = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Versions:
    """The `subject` of a JournalConflict: what was read, what should be saved, what is on disk now."""

    path: Path
    base: bytes
    ours: bytes
    theirs: bytes | None
    recovery: Path | None


def stamp_of(data: bytes) -> Stamp:
    """The stamp of a file that holds `data`."""
    return Stamp(blake2b(data, digest_size=16).hexdigest(), data)


def read(path: Path) -> tuple[Journal, Stamp]:
    """The journal at `path` and the stamp a save must present. Raises JournalUnreadable."""
    data = _bytes(path)
    return Journal.parse(data), stamp_of(data)


def _bytes(path: Path) -> bytes:
    try:
        # A pipe or a device would block, or never end.
        if not stat.S_ISREG(path.stat().st_mode):
            what = "a folder" if path.is_dir() else "not a regular file"
            raise JournalUnreadable(f"{path} is {what}", hint="name a Markdown file", subject=path)
        return path.read_bytes()
    except FileNotFoundError:
        hint = f"create it with `steerway new {path}`"
        raise JournalUnreadable(f"there is no file {path}", hint=hint, subject=path) from None
    except (OSError, ValueError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        hint = "check its path and permissions"
        raise JournalUnreadable(f"cannot read {path} ({reason})", hint=hint, subject=path) from None


def save(path: Path, journal: Journal, stamp: Stamp | None) -> Stamp:
    """Replace the file at `path` in one step, if it still is what `stamp` stands for (None: no file).

    Keeps the file's mode and, through a link, the link. Data and folder are synced before it returns. On any
    failure the file is as it was and the journal's bytes are in a recovery copy that the error names.
    Raises JournalConflict (its `subject` are `Versions`), JournalReadOnly, JournalUnsaved, JournalExists.
    """
    if stamp is None:
        return _create(path, journal.data)
    try:
        target = path.resolve()
        with _locked(target):
            _check(path, target, journal.data, stamp)
            if journal.data != stamp.data:
                _replace(target, journal.data)
    except (OSError, RuntimeError) as error:
        raise _failure(path, journal.data, error) from error
    recovery.drop(path, journal.data)
    return stamp_of(journal.data)


def save_merged(path: Path, journal: Journal, stamp: Stamp) -> tuple[Journal, Stamp]:
    """As `save`, but when the file changed meanwhile, both versions merged cell by cell.

    Where both changed the same cell, the returned journal (and the file) has a conflict cell. Raises what
    `save` does; JournalConflict only when the file was removed or keeps changing.
    """
    from journal.merge import merge

    for _ in range(5):
        try:
            return journal, save(path, journal, stamp)
        except JournalConflict as conflict:
            versions = conflict.subject
            if not isinstance(versions, Versions) or versions.theirs is None:
                raise
            theirs = Journal.parse(versions.theirs)
            journal = merge(Journal.parse(stamp.data), journal, theirs)
            stamp = stamp_of(versions.theirs)
    return journal, save(path, journal, stamp)


@contextmanager
def _locked(target: Path) -> Iterator[None]:
    """Keep other Steerway processes from saving the same file; others are noticed by the hash alone."""
    import fcntl

    descriptor = -1
    with suppress(OSError):
        descriptor = os.open(target, os.O_RDONLY | os.O_NONBLOCK)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def _check(path: Path, target: Path, ours: bytes, stamp: Stamp) -> None:
    try:
        theirs: bytes | None = target.read_bytes()
    except FileNotFoundError:
        theirs = None
    if theirs is not None and (theirs == ours or stamp_of(theirs).digest == stamp.digest):
        _refuse_read_only(target)
        return
    copy = recovery.keep(path, ours)
    what = "was removed" if theirs is None else "was changed by another program"
    raise JournalConflict(
        f"{path.name} {what} since it was read",
        hint=f"your version is kept in {copy}; reload the file, or merge the two" if copy else "",
        subject=Versions(path, stamp.data, ours, theirs, copy),
    )


def _refuse_read_only(target: Path) -> None:
    """A read-only file in a writable folder could be replaced; whoever made it so did not want that."""
    for place in (target, target.parent):
        if not place.stat().st_mode & 0o222:
            raise PermissionError(errno.EACCES, "it is read-only", str(place))
    if not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, "it is read-only", str(target))


def _replace(target: Path, data: bytes) -> None:
    mode = stat.S_IMODE(target.stat().st_mode)
    recovery.write_aside(target, data, mode=mode)
    _sync_folder(target.parent)


def _sync_folder(folder: Path) -> None:
    """Make the rename durable; some file systems do not let a folder be opened or synced."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _create(path: Path, data: bytes) -> Stamp:
    try:
        if not path.parent.stat().st_mode & 0o222:
            raise PermissionError(errno.EACCES, "its folder is read-only", str(path.parent))
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        hint = f"open it with `steerway {path}`, or choose another name"
        raise JournalExists(f"{path} exists already", hint=hint, subject=path) from None
    except OSError as error:
        raise _failure(path, data, error) from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            recovery.write_all(file.fileno(), data)
            os.fsync(file.fileno())
    except OSError as error:
        with suppress(OSError):
            path.unlink()
        raise _failure(path, data, error) from error
    _sync_folder(path.parent)
    return stamp_of(data)


def _failure(path: Path, data: bytes, error: OSError | RuntimeError) -> JournalReadOnly | JournalUnsaved:
    copy = recovery.keep(path, data)
    kept = f"what you wrote is kept in {copy}" if copy else "copy what you wrote before you close it"
    if isinstance(error, OSError) and error.errno in _READ_ONLY:
        return JournalReadOnly(f"cannot write {path}, it or its folder is read-only", hint=kept, subject=path)
    reason = getattr(error, "strerror", None) or str(error)
    return JournalUnsaved(f"{path} could not be saved ({reason})", hint=kept, subject=path)
