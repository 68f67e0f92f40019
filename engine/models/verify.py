"""A cheap look at a GGUF file before native code sees it."""

from __future__ import annotations

from pathlib import Path

from engine.errors import ModelFileCorrupt


def check(path: Path) -> None:
    """Raise ModelFileCorrupt unless the file begins like a GGUF."""
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise ModelFileCorrupt(f"{path.name} is not a GGUF file", hint="check the path", subject=path)
