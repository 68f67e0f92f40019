"""`steerway shell` put together."""

from __future__ import annotations

import getpass
import shutil
import signal
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from journal.repl.forward import Typing
from journal.repl.session import Session

if TYPE_CHECKING:
    from engine.open import Where
    from engine.runtime.job import Serving
    from journal.workspace import Workspace


def run_shell(
    path: Path,
    workspace: Workspace,
    *,
    terminal: bool,
    suggest: bool = False,
    model: str | None = None,
    where: Where | None = None,
) -> int:
    """Serve lines until the end of input; the exit code is 1 when a piped line failed."""
    size = shutil.get_terminal_size((80, 24))
    session = Session(
        path,
        workspace,
        out=sys.stdout,
        confirm=_confirm if terminal else None,
        interactive=terminal,
        on_input=_answer if terminal else None,
        size=(size.lines, size.columns),
        while_running=Typing if terminal else nullcontext,
    )
    engine = _engine(model, where) if suggest and terminal else None
    before = signal.signal(signal.SIGTERM, _terminated)
    try:
        return _serve_terminal(session, engine) if terminal else _serve_pipe(session)
    finally:
        session.close()
        if engine:
            engine.close()
        signal.signal(signal.SIGTERM, before)


def _serve_pipe(session: Session) -> int:
    from journal.repl.front import run_lines

    return run_lines(session, sys.stdin)


def _serve_terminal(session: Session, engine: Serving | None) -> int:
    from journal.repl.front import Front
    from journal.repl.suggest import EngineSuggest

    suggest = EngineSuggest(session, engine, session.say) if engine else None
    before = signal.signal(signal.SIGWINCH, _resizer(session))
    try:
        session.say(f"{session.path.name}: `:help` lists commands, Ctrl-D leaves")
        return Front(session, suggest=suggest).run()
    finally:
        signal.signal(signal.SIGWINCH, before)


def _resizer(session: Session) -> Callable[[int, object], None]:
    def handler(number: int, frame: object) -> None:
        size = shutil.get_terminal_size((80, 24))
        session.runner.resize(size.lines, size.columns)

    return handler


def _terminated(number: int, frame: object) -> None:
    raise SystemExit(128 + number)


def _engine(model: str | None, where: Where | None) -> Serving:
    from engine.open import open_thread

    return open_thread(model, where=where, name="shell")


def _answer(prompt: str, secret: bool) -> str:
    """A line for a python cell's `input()`, typed with the terminal as it usually is."""
    typing = Typing.active
    if typing:
        typing.pause()
    try:
        return getpass.getpass(prompt) if secret else input(prompt)
    except EOFError:
        return ""
    finally:
        if typing:
            typing.resume()


def _confirm(question: str) -> bool:
    return click.confirm(question, default=False)
