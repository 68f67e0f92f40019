"""One editor's session: its open files, its settings, what it can do, and what serves it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from engine import settings as user_settings
from engine.grammars import language_of
from lsp.cache import AnswerCache
from lsp.contexts import Choice, Contexts
from lsp.history import History
from lsp.model import Model
from lsp.settings import EditorSettings, settings_from
from lsp.statistics import Statistics
from lsp.text import Encoding, Text

_LANGUAGE_SAMPLE_CHARACTERS = 2000
_EDITOR_NAMES = {
    "typescriptreact": "tsx",
    "javascriptreact": "javascript",
    "shellscript": "bash",
    "sh": "bash",
    "zsh": "bash",
    "plaintext": "",
}


class Editor(Protocol):
    """What the server may say to the person, whatever carries it."""

    def log(self, message: str, *, problem: bool = False) -> None:
        """A line in the editor's log."""
        ...

    def show(self, message: str) -> None:
        """A message the person sees."""
        ...


@dataclass(frozen=True)
class Client:
    """What the editor can do, from its capabilities."""

    name: str = ""
    encoding: Encoding = "utf-16"
    inline_completion: bool = False
    progress: bool = False
    configuration: bool = False
    registers_configuration: bool = False
    markdown: bool = False
    insert_as_is: bool = False


@dataclass(frozen=True)
class OpenFile:
    """A file as the editor has it now; `cursor` is the offset where it was changed last."""

    uri: str
    language_id: str
    version: int | None
    text: Text
    cursor: int = 0

    @property
    def scheme(self) -> str:
        """`file`, `untitled`, ..."""
        return urlsplit(self.uri).scheme or "file"

    @property
    def path(self) -> Path | None:
        """Where it lies on this machine; None for buffers that are not files."""
        return path_of(self.uri)

    @property
    def language(self) -> str:
        """The language as the engine names it."""
        name = self.path.name if self.path else ""
        known = language_of(name, self.text.value[:_LANGUAGE_SAMPLE_CHARACTERS])
        return known or _EDITOR_NAMES.get(self.language_id, self.language_id)


class Session:
    """Everything one connection has. All methods belong to the event loop."""

    def __init__(
        self,
        *,
        editor: Editor,
        model: Model,
        contexts: Contexts,
        statistics: Statistics,
        user: user_settings.Settings,
        forced_journal: Path | None = None,
    ) -> None:
        self.editor = editor
        self.model = model
        self.contexts = contexts
        self.statistics = statistics
        self.user = user
        self.client = Client()
        self.settings = EditorSettings()
        self.files: dict[str, OpenFile] = {}
        self.cache = AnswerCache()
        self.history = History()
        self.on_change: list[Callable[[str], None]] = []
        self.working: Callable[[], int] = lambda: 0
        self._forced_journal = forced_journal
        self._initial: object = None
        self._said: set[str] = set()

    def begin(self, client: Client, options: object) -> None:
        """The handshake: what the editor can do, and its initializationOptions."""
        self.client = client
        self._initial = options
        self.configure()

    def configure(self, *layers: object) -> None:
        """Take settings; later layers win over the initializationOptions."""
        read = settings_from(self._initial, *layers)
        self.settings = read.settings
        for problem in read.problems:
            self.once(problem)
        self.contexts.choose(Choice.of(self._forced_journal, read.settings))

    def open(self, file: OpenFile) -> None:
        """A file was opened."""
        self.files[file.uri] = file
        self._changed(file.uri)

    def change(self, uri: str, version: int | None, text: Text, *, cursor: int = 0) -> None:
        """A file's text is now `text`; answers under way for the old one are dropped."""
        if (file := self.files.get(uri)) is not None:
            cursor = min(cursor, len(text.value))
            self.files[uri] = replace(file, version=version, text=text, cursor=cursor)
            self._changed(uri)

    def close_file(self, uri: str) -> None:
        """A file was closed."""
        self.files.pop(uri, None)
        self._changed(uri)

    @property
    def max_tokens(self) -> int:
        """The longest suggestion: the editor's setting, else the user's."""
        return self.settings.max_tokens or self.user.max_tokens

    def once(self, message: str, *, show: bool = False) -> None:
        """Say a real problem, the first time it comes up."""
        if message in self._said:
            return
        self._said.add(message)
        self.editor.log(message, problem=True)
        if show:
            self.editor.show(f"Steerway: {message}")

    def _changed(self, uri: str) -> None:
        for listener in self.on_change:
            listener(uri)

    def close(self) -> None:
        """Let the model go, stop watching, write what waits. Idempotent."""
        self.contexts.close()
        self.model.close()
        self.statistics.close()


def path_of(uri: str) -> Path | None:
    """The local path of a `file:` URI, None for others."""
    parts = urlsplit(uri)
    if parts.scheme != "file" or parts.netloc not in ("", "localhost"):
        return None
    return Path(unquote(parts.path))
