"""The user's cache folder for sources and wheels. Everything is put there by one rename."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path


def folder() -> Path:
    """`$STEERWAY_HOME/cache/native`, else `steerway/native` in the platform's user cache folder.

    The folder that `engine.settings` computes; a back end runs without it and without platformdirs.
    """
    if home := os.environ.get("STEERWAY_HOME"):
        return Path(home).expanduser() / "cache" / "native"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "steerway" / "native"
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".cache") / "steerway" / "native"


def sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def put_file(source: Path, target: Path) -> Path:
    """Copy `source` to `target` so that readers see the whole file or none."""
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}-")
    os.close(handle)
    try:
        shutil.copyfile(source, name)
        Path(name).chmod(0o644)
        Path(name).replace(target)
    finally:
        Path(name).unlink(missing_ok=True)
    return target


def put_folder(source: Path, target: Path) -> Path:
    """Move the folder `source` (on any file system) to `target`, unless another process was first."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as staging:
        copy = Path(shutil.copytree(source, Path(staging) / "content"))
        try:
            copy.rename(target)
        except OSError:
            if not target.is_dir():
                raise
    return target


@contextlib.contextmanager
def lock(name: str) -> Iterator[None]:
    """Let one process at a time build `name`; the others wait, then find it in the cache."""
    try:
        import fcntl
    except ImportError:  # no such lock here: two builds at once only cost time
        yield
        return
    path = folder() / f"{name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
