"""The terminal side of `steerway shell`: prompt-toolkit for people, plain lines for pipes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from journal.repl.completeness import is_complete
from journal.repl.session import Session

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.auto_suggest import AutoSuggest
    from prompt_toolkit.formatted_text import StyleAndTextTuples
    from prompt_toolkit.history import FileHistory
    from prompt_toolkit.key_binding import KeyBindings
    from prompt_toolkit.lexers import Lexer

_TITLE_CHARS = 32


def run_lines(session: Session, lines: Iterable[str]) -> int:
    """Do what each line says, for pipes: a line that is unfinished goes on in the next. 1 if one failed."""
    held = ""
    failed = False
    for line in lines:
        held = f"{held}\n{line.rstrip()}" if held else line.rstrip("\n")
        if not is_complete(held, session.mode):
            continue
        text, held = held, ""
        going = session.handle(text)
        failed = failed or (bool(text.strip()) and session.failed)
        if not going:
            break
    if held:
        session.handle(held)
        failed = failed or session.failed
    return int(failed)


def prompt_parts(session: Session) -> tuple[str, str, str]:
    """The journal's name, the step's title, and the mode."""
    name = session.journal.title or session.path.name.removesuffix(".journal.md")
    step = session.step
    return _short(name), _short(step.title) if step else "", session.mode


def _short(text: str) -> str:
    return text if len(text) <= _TITLE_CHARS else text[: _TITLE_CHARS - 1] + "…"


class Front:
    """Prompts until Ctrl-D or `:quit`."""

    def __init__(self, session: Session, *, suggest: AutoSuggest | None = None) -> None:
        self._session = session
        self._prompt = self._make(suggest)

    def run(self) -> int:
        """The loop."""
        while True:
            try:
                line = self._prompt.prompt(self._message)
            except KeyboardInterrupt:
                continue
            except EOFError:
                return 0
            if not self._session.handle(line):
                return 0

    def _message(self) -> StyleAndTextTuples:
        journal, step, mode = prompt_parts(self._session)
        place = f"{journal} · {step}" if step else journal
        return [("bold", place), ("", f" {mode}> ")]

    def _make(self, suggest: AutoSuggest | None) -> PromptSession[str]:
        from prompt_toolkit import PromptSession
        from prompt_toolkit.auto_suggest import AutoSuggestFromHistory, ThreadedAutoSuggest

        from journal.repl.completion import JournalCompleter

        return PromptSession(
            history=history(),
            multiline=True,
            key_bindings=_bindings(self._session),
            completer=JournalCompleter(self._session),
            complete_while_typing=False,
            auto_suggest=suggest or ThreadedAutoSuggest(AutoSuggestFromHistory()),
            lexer=_lexer(self._session),
            prompt_continuation="... ",
            enable_suspend=True,
            enable_open_in_editor=True,
        )


def history() -> FileHistory:
    """The user's history, in the user's own state folder; a line that begins with a blank is not kept."""
    from prompt_toolkit.history import FileHistory

    from engine.settings import folders

    class Own(FileHistory):
        def store_string(self, string: str) -> None:
            if not string.startswith(" "):
                super().store_string(string)

    path = folders().state / "shell-history"
    path.parent.mkdir(parents=True, exist_ok=True)
    Path(path).touch(0o600)
    return Own(path)


def _bindings(session: Session) -> KeyBindings:
    from prompt_toolkit.application import get_app
    from prompt_toolkit.filters import Condition
    from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

    keys = KeyBindings()

    @keys.add("enter")
    def _(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        text = buffer.document.text
        if buffer.document.current_line == "" or is_complete(text, session.mode):
            buffer.validate_and_handle()
        else:
            buffer.newline()

    # The prompt has these two itself, except on a dumb terminal.
    @keys.add("c-d", filter=Condition(lambda: not get_app().current_buffer.text))
    def _(event: KeyPressEvent) -> None:
        event.app.exit(exception=EOFError)

    @keys.add("c-c")
    def _(event: KeyPressEvent) -> None:
        event.app.exit(exception=KeyboardInterrupt)

    @keys.add("escape", "enter")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.newline()

    return keys


def _lexer(session: Session) -> Lexer:
    from prompt_toolkit.lexers import DynamicLexer, PygmentsLexer, SimpleLexer
    from pygments.lexers.python import PythonLexer  # type: ignore[import-untyped]
    from pygments.lexers.shell import BashLexer  # type: ignore[import-untyped]

    lexers: dict[str, Lexer] = {"python": PygmentsLexer(PythonLexer), "sh": PygmentsLexer(BashLexer)}

    def choose() -> Lexer:
        # A command is no program.
        return lexers.get(session.mode) or SimpleLexer()

    return DynamicLexer(choose)
