"""What Tab offers: commands, names of cells and steps, paths in the shell's own folder."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document

from journal.repl.commands import COMMANDS
from journal.repl.session import Session

_MOST = 200


class JournalCompleter(Completer):
    """Completes a line of `steerway shell`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        before = document.current_line_before_cursor
        if before.startswith(":"):
            yield from self._command(before[1:])
        elif self._session.mode == "sh":
            yield from self._paths(before.rpartition(" ")[2])

    def _command(self, text: str) -> Iterator[Completion]:
        name, space, rest = text.partition(" ")
        if not space:
            for command in COMMANDS.values():
                if command.name.startswith(name):
                    yield Completion(command.name, -len(name), display_meta=command.help)
            return
        word = rest.rpartition(" ")[2] if name == "run" else rest
        kind = COMMANDS[name].completes if name in COMMANDS else ""
        for value, meta in self._values(kind):
            if value.startswith(word):
                yield Completion(value, -len(word), display_meta=meta)

    def _values(self, kind: str) -> Iterator[tuple[str, str]]:
        journal = self._session.journal
        if kind == "steps":
            yield from ((step.id or step.title, step.title) for step in journal.steps)
        elif kind == "cells":
            code = (cell for cell in journal.cells if cell.is_code and (cell.name or cell.id))
            yield from ((cell.name or cell.id, cell.text.partition("\n")[0][:40]) for cell in code)

    def _paths(self, word: str) -> Iterator[Completion]:
        folder_text, slash, prefix = word.rpartition("/")
        base = Path(folder_text + slash).expanduser() if slash else Path()
        folder = self.folder() / base
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)[:_MOST]
        except OSError:
            return
        for entry in entries:
            if entry.name.startswith(prefix) and (prefix or not entry.name.startswith(".")):
                text = entry.name.replace(" ", "\\ ") + ("/" if entry.is_dir() else "")
                yield Completion(text, -len(prefix), display=entry.name)

    def folder(self) -> Path:
        """Where the shell is now, as far as the system tells."""
        pid = self._session.runner.backends.shell().pid
        try:
            return Path(f"/proc/{pid}/cwd").readlink()
        except OSError:
            return self._session.workspace.root
