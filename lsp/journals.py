"""Contexts from the journal package: which journal, which step, which documents, which files to watch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from engine.errors import SteerwayError, UsageError
from journal import files
from journal.context import reference_paths, snapshot
from journal.document import Cell, Journal
from journal.watch import Watcher
from journal.workspace import SUFFIX, Workspace
from lsp.contexts import Choice, Context, Watch

_MOST_NEIGHBOURS = 100


class JournalReader:
    """Reads journals, keeping each workspace's state open. All calls come from one thread."""

    def __init__(self) -> None:
        self._workspaces: dict[Path, Workspace] = {}

    def root(self, folder: Path) -> Path:
        """The workspace `folder` belongs to."""
        return Workspace.find(folder).root

    def read(self, root: Path, choice: Choice) -> Context:
        """The context of the workspace at `root`, now. What is wrong is one of its problems."""
        try:
            path = self._journal(root, choice)
            return Context(root) if path is None else self._context(root, path, choice)
        except (SteerwayError, OSError) as error:
            return Context(root, problems=(str(error),))

    def set_step(self, root: Path, choice: Choice, step: str) -> str:
        """Make `step` the current one; returns its title. Raises a SteerwayError."""
        if choice.step:
            raise UsageError(
                f"steerway.step holds the step at {choice.step!r}",
                hint="take it out of your editor's settings",
            )
        path = self._journal(root, choice)
        if path is None:
            raise UsageError(f"no journal in {root}", hint="steerway new makes one")
        journal, _ = files.read(path)
        cell = journal.step(step)
        self._workspace(_home(root, path, choice)).set_current_step(path, cell)
        return cell.title

    def close(self) -> None:
        """Close every workspace's state."""
        for workspace in self._workspaces.values():
            workspace.close()
        self._workspaces.clear()

    def _journal(self, root: Path, choice: Choice) -> Path | None:
        workspace = self._workspace(root)
        if choice.forced is not None:
            return choice.forced
        if choice.journal:
            return _inside(workspace, choice.journal)
        # A folder that nothing marks may be a home or the root of a disk: neither walked nor written to. And
        # asking a workspace for its state makes a .steerway folder: only where somebody keeps a journal.
        if not _is_marked(root) or not ((root / ".steerway").is_dir() or workspace.journals()):
            return None
        return workspace.active_journal()

    def _context(self, root: Path, path: Path, choice: Choice) -> Context:
        workspace = self._workspace(_home(root, path, choice))
        journal, _ = files.read(path)
        step, problems = _step(workspace, path, journal, choice)
        found = snapshot(journal, path=path, workspace=workspace, step=step)
        return Context(
            root,
            journal=path,
            step=step.title if step is not None else "",
            step_id=step.key if step is not None else "",
            documents=found.documents,
            problems=(*problems, *found.problems),
            digest=found.digest,
            watched=_watched(workspace, path, journal),
        )

    def _workspace(self, root: Path) -> Workspace:
        if root not in self._workspaces:
            self._workspaces[root] = Workspace(root)
        return self._workspaces[root]


def make_watcher(callback: Callable[[], None]) -> Watch:
    """A watcher that calls `callback`, on a thread of its own, when watched files got other contents."""
    return Watcher(lambda _paths: callback())


def _home(root: Path, path: Path, choice: Choice) -> Path:
    """The workspace that a journal's references and state belong to."""
    return root if choice.forced is None else Workspace.find(path.parent).root


def _inside(workspace: Workspace, name: str) -> Path:
    """The journal a setting (which a repository may bring) names. Raises UsageError outside the workspace."""
    path = (workspace.root / name).resolve()
    if not path.is_relative_to(workspace.boundary.resolve()):
        raise UsageError(
            f"steerway.journal is {name!r}, outside the workspace", hint="use `steerway lsp --journal`"
        )
    return path


def _step(
    workspace: Workspace, path: Path, journal: Journal, choice: Choice
) -> tuple[Cell | None, tuple[str, ...]]:
    problems: tuple[str, ...] = ()
    if choice.step:
        try:
            return journal.step(choice.step), ()
        except SteerwayError as error:
            problems = (str(error),)
    return workspace.current_step(path, journal), problems


def _is_marked(root: Path) -> bool:
    marks = (root / ".git", root / ".steerway")
    return any(mark.exists() for mark in marks) or any(root.glob(f"*{SUFFIX}"))


def _watched(workspace: Workspace, path: Path, journal: Journal) -> tuple[Path, ...]:
    """The journal, its references, its user's state (a step may be set elsewhere), and its neighbours.

    Neighbours because the journal changed last is the active one; only those in folders that are watched
    anyway, since each folder costs threads.
    """
    state = workspace.state.path
    paths = [path, *reference_paths(journal, path=path, workspace=workspace)]
    paths += [state, state.with_name(f"{state.name}-wal")]
    folders = {each.parent for each in paths}
    neighbours = [each for each in workspace.journals() if each.parent in folders]
    return (*paths, *neighbours[:_MOST_NEIGHBOURS])
