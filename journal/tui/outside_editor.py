"""A cell's text in the person's own editor, while the program lends it the terminal."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import UsageError
from journal.document import Cell

if TYPE_CHECKING:
    from textual.app import App

_SUFFIXES = {"python": ".py", "note": ".md", "front": ".yaml", "output": ".txt", "javascript": ".js"}
_SUFFIXES |= {
    "bash": ".sh",
    "zsh": ".sh",
    "rust": ".rs",
    "typescript": ".ts",
    "markdown": ".md",
    "conflict": ".md",
}


def command() -> list[str]:
    """What starts the editor. Raises UsageError when none is named."""
    words = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "")
    if not words:
        raise UsageError("no editor is set", hint="set EDITOR, for example to vim, and start again")
    return words


def edit(app: App[object], cell: Cell) -> str | None:
    """The text as it is left in the editor; None when the editor failed. Raises UsageError."""
    words = command()
    suffix = _SUFFIXES.get(cell.kind, f".{cell.kind}" if cell.kind.isalnum() else ".txt")
    with tempfile.TemporaryDirectory(prefix="steerway-") as folder:
        path = Path(folder) / f"{cell.name or cell.kind}{suffix}".replace("/", "-")
        path.write_text(cell.text + "\n", encoding="utf-8")
        try:
            with app.suspend():
                status = subprocess.call([*words, str(path)])
        except OSError as error:
            raise UsageError(f"{words[0]} does not start ({error.strerror})", hint="set EDITOR") from None
        if status:
            return None
        text = path.read_text(encoding="utf-8", errors="replace")
    return text.removesuffix("\n")
