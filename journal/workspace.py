"""A workspace: the folder a journal speaks of, its journals, and where its user is in them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from engine.privacy.git import is_too_wide, repository
from journal.document import Cell, Journal
from journal.state import State, open_state

SUFFIX = ".journal.md"
_MARKS = (".git", ".steerway")
_SKIPPED = {"node_modules", "__pycache__", "venv", "env", "site-packages", "target", "dist", "build"}
_DEPTH = 8


class Workspace:
    """The folder `root`. Cheap to make: nothing is read or opened before it is asked for."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def find(cls, start: Path) -> Workspace:
        """The nearest folder from `start` up with a `.git`, a `.steerway` or a journal; else `start`.

        Above `start`, folders that hold everything (the file system's root, the home folder) or that anybody
        may write to (`/tmp`) are passed over: what lies there is not about what is below. A `start` that is
        not there (yet) counts as a folder.
        """
        start = start.absolute()
        folder = start.parent if start.exists() and not start.is_dir() else start
        for candidate in (folder, *folder.parents):
            if _is_root(candidate) and (candidate == folder or not is_too_wide(candidate)):
                return cls(candidate)
        return cls(folder)

    @property
    def boundary(self) -> Path:
        """The folder that references must stay in: the repository around the root, else the root."""
        return boundary(self.root)

    @cached_property
    def state(self) -> State:
        """The user's state here, opened on first use."""
        return open_state(self.root, shared=is_too_wide(self.root))

    @property
    def in_repository(self) -> bool:
        """Whether a git repository is around the root."""
        return repository(self.root) is not None

    def close(self) -> None:
        """Close the state, if it was opened."""
        state = self.__dict__.pop("state", None)
        if state is not None:
            state.close()

    def key(self, path: Path) -> str:
        """How the state names a file: relative to the root with `/`, or absolute outside it."""
        path = path.absolute()
        return path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else path.as_posix()

    def journals(self) -> list[Path]:
        """Every journal under the root in order of path, without those in environments and hidden folders."""
        return sorted(_walk(self.root))

    def active_journal(self) -> Path | None:
        """The journal that was last made active, else the only one, else the one modified last."""
        remembered = self.state.place("active_journal")
        if remembered is not None and (self.root / remembered).is_file():
            return self.root / remembered
        found = self.journals()
        return max(found, key=_modified) if found else None

    def set_active(self, path: Path) -> None:
        """Make the journal at `path` the active one."""
        self.state.set_place("active_journal", self.key(path))

    def current_step(self, path: Path, journal: Journal) -> Cell | None:
        """The step its user is at: the remembered one, the first being done, the first to do, the last."""
        remembered = self.state.current_step(self.key(path))
        for step in journal.steps:
            if remembered is not None and step.key == remembered:
                return step
        for wanted in ("doing", "todo"):
            for step in journal.steps:
                if step.meta.get("state", "todo") == wanted:
                    return step
        return journal.steps[-1] if journal.steps else None

    def set_current_step(self, path: Path, cell: Cell | None) -> None:
        """Remember the step; None goes back to choosing by the steps' states."""
        self.state.set_current_step(self.key(path), cell.key if cell is not None else None)


def boundary(root: Path) -> Path:
    """The repository around `root`, or `root` itself when there is none."""
    return repository(root) or root


def _is_root(folder: Path) -> bool:
    try:
        with os.scandir(folder) as entries:
            return any(entry.name in _MARKS or entry.name.endswith(SUFFIX) for entry in entries)
    except OSError:
        return False


def _walk(folder: Path, depth: int = 0) -> Iterator[Path]:
    try:
        with os.scandir(folder) as scan:
            entries = list(scan)
    except OSError:
        return
    names = {entry.name for entry in entries}
    if "pyvenv.cfg" in names or (depth and "CACHEDIR.TAG" in names):
        return
    for entry in entries:
        if entry.name.endswith(SUFFIX) and entry.is_file():
            yield Path(entry.path)
        elif depth < _DEPTH and _is_worth(entry):
            yield from _walk(Path(entry.path), depth + 1)


def _is_worth(entry: os.DirEntry[str]) -> bool:
    return (
        not entry.name.startswith(".") and entry.name not in _SKIPPED and entry.is_dir(follow_symlinks=False)
    )


def _modified(path: Path) -> tuple[float, str]:
    try:
        return path.stat().st_mtime, path.as_posix()
    except OSError:
        return 0.0, path.as_posix()
