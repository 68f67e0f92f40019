"""Recovery copies: what could not be saved where it belongs, in the user's state folder."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path

from engine import settings


def _recovery_name(path: Path, data: bytes) -> str:
    place = blake2b(os.fsencode(path.absolute()), digest_size=4).hexdigest()
    content = blake2b(data, digest_size=6).hexdigest()
    return f"{place}-{content}-{path.name[-100:]}"


def _recovery_folders() -> Iterator[Path]:
    yield settings.folders().state / "recovery"
    yield Path(tempfile.gettempdir()) / f"steerway-recovery-{os.getuid()}"


def keep(path: Path, data: bytes) -> Path | None:
    """Put `data`, meant for `path`, into a copy that only its owner can read; None if none can be written.

    The same bytes for the same path are kept once.
    """
    for folder in _recovery_folders():
        copy = folder / _recovery_name(path, data)
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if folder.stat().st_uid != os.getuid() or folder.is_symlink():
                continue
            if not (copy.is_file() and copy.read_bytes() == data):
                write_aside(copy, data)
        except OSError:
            continue
        return copy
    return None


def write_aside(target: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Write `data` to a new file beside `target`, sync it, and put it in `target`'s place in one step."""
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:100]}.", suffix=".tmp")
    try:
        with os.fdopen(descriptor, "wb") as file:
            write_all(file.fileno(), data)
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        Path(name).replace(target)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of `data`; one call of the system may write less, on a disk that is nearly full for one."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def copies(path: Path) -> list[Path]:
    """Recovery copies of the journal at `path`, the latest first."""
    prefix = _recovery_name(path, b"").split("-")[0] + "-"
    found: list[Path] = []
    for folder in _recovery_folders():
        with suppress(OSError):
            found += [copy for copy in folder.iterdir() if copy.name.startswith(prefix)]
    return sorted(found, key=lambda copy: copy.stat().st_mtime_ns, reverse=True)


def drop(path: Path, data: bytes) -> None:
    """What is saved need not be kept."""
    for folder in _recovery_folders():
        with suppress(OSError):
            (folder / _recovery_name(path, data)).unlink()
