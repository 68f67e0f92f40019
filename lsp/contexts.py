"""The journals behind the open files: each workspace's current step as documents, kept up to date.

Reading and resolving happen on one thread of its own (an sqlite connection belongs to its thread, and
references may be slow); the event loop only ever sees finished, frozen contexts.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

from engine.documents import Document
from lsp.settings import EditorSettings

log = logging.getLogger(__name__)

T = TypeVar("T")

_FIRST_READ_S = 3.0
_LOOK_FOR_JOURNAL_S = 10.0


@dataclass(frozen=True)
class Context:
    """What the current step of one workspace gives to a suggestion; without a journal, nothing.

    `watched` are the files whose change makes it stale; `problems` one line each, for `steerway.status`.
    """

    root: Path | None = None
    journal: Path | None = None
    step: str = ""
    step_id: str = ""
    documents: tuple[Document, ...] = ()
    problems: tuple[str, ...] = ()
    digest: str = ""
    watched: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Choice:
    """Which journal and step to use instead of the workspace's own; empty means the workspace decides.

    `forced` comes from the command line and may lie anywhere; `journal` from an editor's settings, and must
    lie inside the workspace.
    """

    forced: Path | None = None
    journal: str = ""
    step: str = ""

    @classmethod
    def of(cls, forced: Path | None, settings: EditorSettings) -> Choice:
        """What the command line and the editor's settings say together."""
        return cls(forced, settings.journal, settings.step)


class Reader(Protocol):
    """What `lsp.journals` does with the journal package; always called on one and the same thread."""

    def root(self, folder: Path) -> Path:
        """The workspace `folder` belongs to."""
        ...

    def read(self, root: Path, choice: Choice) -> Context:
        """The context of the workspace at `root`, now. Never raises for what a person wrote."""
        ...

    def set_step(self, root: Path, choice: Choice, step: str) -> str:
        """Make `step` the current one; returns its title. Raises a SteerwayError."""
        ...

    def close(self) -> None:
        """Close what is open."""
        ...


class Watch(Protocol):
    """The part of `journal.watch.Watcher` used here."""

    def watch(self, paths: Iterable[Path]) -> None:
        """Watch exactly these files from now on."""
        ...

    def close(self) -> None:
        """Stop."""
        ...


@dataclass
class _Entry:
    context: Context | None = None
    reading: asyncio.Task[None] | None = None
    again: bool = False
    read_at: float = 0.0
    ready: asyncio.Event = field(default_factory=asyncio.Event)


class Contexts:
    """One context for each workspace that has an open file. All methods belong to the event loop."""

    def __init__(
        self,
        reader: Reader,
        watcher: Callable[[Callable[[], None]], Watch],
        *,
        on_change: Callable[[Context], None],
    ) -> None:
        self._reader = reader
        self._make_watcher = watcher
        self._watcher: Watch | None = None
        self._watched: frozenset[Path] = frozenset()
        self._on_change = on_change
        self._choice = Choice()
        self._roots: dict[Path, Path] = {}
        self._entries: dict[Path, _Entry] = {}
        self._preparing: set[asyncio.Task[Context]] = set()
        self._closed = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="steerway-journal")

    async def of(self, path: Path | None) -> Context:
        """The context for the file at `path`; waits for a first reading, though not for long."""
        if path is None:
            return Context()
        root = await self.root_of(path)
        entry = self._entry(root)
        if entry.context is None:
            try:
                await asyncio.wait_for(entry.ready.wait(), _FIRST_READ_S)
            except TimeoutError:
                return Context(problems=("the journal is still being read",))
        elif entry.context.journal is None and time.monotonic() - entry.read_at > _LOOK_FOR_JOURNAL_S:
            # A journal written since then is not watched yet; the next request will have it.
            self._roots.pop(path.parent, None)
            self._start(root, entry)
        return entry.context or Context()

    def prepare(self, path: Path | None) -> None:
        """Begin to read the context of `path`, so that the first request finds it."""
        task = asyncio.ensure_future(self.of(path))
        self._preparing.add(task)
        task.add_done_callback(self._preparing.discard)

    async def root_of(self, path: Path) -> Path:
        """The workspace of the file at `path`."""
        folder = path.parent
        if folder not in self._roots:
            self._roots[folder] = await self._off(self._reader.root, folder)
        return self._roots[folder]

    def choose(self, choice: Choice) -> None:
        """Use another journal or step; contexts are read again when that changes anything."""
        if choice != self._choice:
            self._choice = choice
            self.refresh()

    def refresh(self) -> None:
        """Read every context again, off the event loop."""
        for root, entry in self._entries.items():
            self._start(root, entry)

    async def set_step(self, path: Path, step: str) -> str:
        """Make `step` current in the journal of `path`'s workspace. Raises a SteerwayError."""
        root = await self.root_of(path)
        title = await self._off(self._reader.set_step, root, self._choice, step)
        entry = self._entry(root)
        self.refresh()
        while entry.reading is not None and not entry.reading.done():
            await asyncio.shield(entry.reading)
        return title

    def report(self) -> list[dict[str, object]]:
        """Every known context as JSON."""
        return [_report(root, entry.context) for root, entry in self._entries.items()]

    def close(self) -> None:
        """Stop watching and reading. Idempotent."""
        if self._watcher is not None:
            self._watcher.close()
            self._watcher = None
        for entry in self._entries.values():
            if entry.reading is not None:
                entry.reading.cancel()
        self._entries.clear()
        if not self._closed:
            self._closed = True
            self._thread.submit(self._reader.close)
            self._thread.shutdown(wait=True)

    def _entry(self, root: Path) -> _Entry:
        if root not in self._entries:
            entry = self._entries[root] = _Entry()
            self._start(root, entry)
        return self._entries[root]

    def _start(self, root: Path, entry: _Entry) -> None:
        if entry.reading is not None and not entry.reading.done():
            entry.again = True
        else:
            entry.reading = asyncio.ensure_future(self._read(root, entry))

    async def _read(self, root: Path, entry: _Entry) -> None:
        while True:
            entry.again = False
            try:
                context = await self._off(self._reader.read, root, self._choice)
            except Exception as error:
                log.exception("reading the journal of %s", root)
                context = Context(root, problems=(f"{type(error).__name__}: {error}",))
            entry.read_at = time.monotonic()
            changed = entry.context is None or entry.context != context
            entry.context = context
            entry.ready.set()
            self._rewatch()
            if changed:
                self._on_change(context)
            if not entry.again:
                return

    def _rewatch(self) -> None:
        contexts = [entry.context for entry in self._entries.values() if entry.context]
        paths = frozenset(path for context in contexts for path in context.watched)
        if paths == self._watched:
            return
        self._watched = paths
        if self._watcher is None:
            loop = asyncio.get_running_loop()
            self._watcher = self._make_watcher(lambda: _post(loop, self.refresh))
        self._watcher.watch(sorted(paths))

    async def _off(self, call: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call, *arguments)


def _report(root: Path, context: Context | None) -> dict[str, object]:
    if context is None:
        return {"root": str(root), "state": "reading"}
    return {
        "root": str(root),
        "state": "ready",
        "journal": str(context.journal or ""),
        "step": context.step,
        "documents": [{"name": document.name, "kind": document.kind} for document in context.documents],
        "problems": list(context.problems),
    }


def _post(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    try:
        loop.call_soon_threadsafe(call)
    except RuntimeError:
        # The loop is closed: nobody asks for contexts any more.
        pass
