"""A place in a file, and the request to the engine that fills it with the step's documents in view."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from engine.documents import Document
from engine.errors import UsageError
from engine.grammars import language_of
from engine.privacy.names import forbidden_name
from engine.privacy.strings import around
from engine.request import Request
from engine.settings import Settings


@dataclass(frozen=True)
class Hole:
    """An offset (in characters) in the text of a file."""

    path: Path
    text: str
    offset: int

    @classmethod
    def parse(cls, place: str) -> Hole:
        """The hole at FILE:LINE:COL, both counted from 1, the column in characters.

        Raises UsageError when that is no such place, or the file is not UTF-8 text, or a key file.
        """
        name, line, column = _parts(place)
        if secret := forbidden_name(Path(name)) or forbidden_name(Path(os.path.realpath(name))):
            raise UsageError(f"{secret} may hold secrets", hint="there are no suggestions in key files")
        text = _read(Path(name))
        return cls(Path(name), text, _offset(text, line, column, name))

    def filled(self, text: str) -> str:
        """The file with `text` at the hole."""
        return self.text[: self.offset] + text + self.text[self.offset :]

    def fitted(self, text: str) -> str:
        r"""A suggestion's text with the line ends of the file, whose first one decides."""
        first = self.text.partition("\n")[0]
        return text.replace("\n", "\r\n") if first.endswith("\r") else text

    def shown(self, root: Path) -> str:
        """The file's path as the model and a person see it: relative to `root` when inside."""
        path = self.path.absolute()
        return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name

    def request(self, *, root: Path, documents: tuple[Document, ...], settings: Settings) -> Request:
        """The request that fills this hole, without the secrets of the file around it.

        The edited file itself is left out of `documents`.
        """
        shown = self.shown(root)
        language = language_of(shown, self.text)
        before, after = self.text[: self.offset], self.text[self.offset :]
        # Models and the rules for stopping know lines that end in a line feed alone.
        prefix, suffix = around(before.replace("\r\n", "\n"), after.replace("\r\n", "\n"), language)
        return Request(
            prefix=prefix,
            suffix=suffix,
            path=shown,
            language=language,
            repository=root.name,
            documents=tuple(d for d in documents if d.name != shown),
            max_tokens=settings.max_tokens,
            document_tokens=settings.document_tokens,
            file_tokens=settings.file_tokens,
            budget_ms=settings.budget_ms or None,
            stop_at=settings.stop_at,
            temperature=settings.temperature,
            layout=settings.layout or None,
        )


def _parts(place: str) -> tuple[str, int, int]:
    name, _, column = place.rpartition(":")
    name, _, line = name.rpartition(":")
    if not (name and line.isdecimal() and column.isdecimal() and int(line) and int(column)):
        raise UsageError(f"`{place}` is not FILE:LINE:COL", hint="both count from 1, as in src/up.py:42:9")
    return name, int(line), int(column)


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode()
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not UTF-8 text", hint="save it as UTF-8 first") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read", hint=(error.strerror or str(error)).lower()) from None


def _offset(text: str, line: int, column: int, name: str) -> int:
    lines = text.split("\n")
    if line > len(lines):
        raise UsageError(f"{name} has {len(lines)} line{'s' * (len(lines) > 1)}, not {line}")
    width = len(lines[line - 1].rstrip("\r"))
    if column > width + 1:
        raise UsageError(f"line {line} of {name} ends at column {width + 1}, before column {column}")
    return sum(len(before) + 1 for before in lines[: line - 1]) + column - 1
