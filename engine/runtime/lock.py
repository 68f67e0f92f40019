"""The lock of an engine's process: held while it lives, freed by the kernel when it dies, however it dies."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import BinaryIO


def opened(path: Path) -> BinaryIO:
    """The lock file at `path`, made if need be; not locked yet."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.fdopen(os.open(path, flags, 0o600), "r+b", buffering=0)


def take(lock: BinaryIO) -> bool:
    """Lock it for as long as it is open; False when another process has it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def held(path: Path) -> bool:
    """Whether a process has it. To look, it is held for a moment, shared: others may look at once."""
    try:
        with path.open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
