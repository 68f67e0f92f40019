"""Contexts from the journal package: which journal, which step, which documents, which files to watch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lsp.contexts import Choice, Context, Watch


class JournalReader:
    """Reads journals; all calls come from one thread."""

    def root(self, folder: Path) -> Path:
        """The workspace `folder` belongs to."""
        return folder

    def read(self, root: Path, choice: Choice) -> Context:
        """The context of the workspace at `root`, now."""
        return Context(root)

    def set_step(self, root: Path, choice: Choice, step: str) -> str:
        """Make `step` the current one; returns its title."""
        return ""

    def close(self) -> None:
        """Close what is open."""


def make_watcher(callback: Callable[[], None]) -> Watch:
    """A watcher that calls `callback` when a watched file changes."""
    raise OSError
