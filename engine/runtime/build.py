"""Which build of llama.cpp runs, told apart by its files: what was measured or tested holds for one build."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from engine.runtime import extension, library


def identity() -> str:
    """16 hexadecimal digits that change with llama-cpp-python, our additions, their files, our kernels on.

    Raises EngineUnavailable when the library does not load.
    """
    facts = [*files(), ",".join(extension.kernels_on())]
    return hashlib.sha256("\n".join(facts).encode("utf-8", "replace")).hexdigest()[:16]


@cache
def files() -> tuple[str, ...]:
    """Version and features of our additions, and the loaded library's files by size and time."""
    loaded = Path(library.load()._lib._name)
    facts = [extension.version(), ",".join(extension.features())]
    for file in sorted(loaded.resolve().parent.iterdir()):
        status = file.stat()
        facts.append(f"{file.name} {status.st_size} {status.st_mtime_ns}")
    return tuple(facts)
