"""Texts to train on: more than a calibration needs, from the same places, never what a model is judged by.

Recovery takes hundreds of thousands of tokens, more than most repositories hold. Behind the repository come
the packages that are installed here and Python's own library: code, and as prose their documentation strings
and READMEs.
"""

from __future__ import annotations

import ast
import hashlib
import sysconfig
import warnings
from collections.abc import Iterable, Iterator
from importlib import metadata
from itertools import chain, islice
from pathlib import Path

from engine.compress import text
from engine.compress.text import CODE, Piece

_PIECES_A_FILE = 4
_TELLING_CHARACTERS = 60  # lines as long hardly meet by chance
_SHARED_LINES = 2
_DOCSTRING_CHARACTERS = 200
# The language reference that is judged by; and what is no text that people write.
_LEFT_OUT = {"pydoc_data", "site-packages", "__pycache__", "lib2to3", "encodings"}


def training(chosen: Path | None, start: Path) -> Iterator[Piece]:
    """Pieces of `chosen`, or of the repository around `start` and then of all that is installed.

    Prose and code are about half each. Pieces that share lines with what is judged by are left out. Raises
    UsageError when `chosen` holds no text.
    """
    judged = telling_lines(piece.text for piece in text.held_out(chosen))
    found = _installed(start) if chosen is None else text.calibration(chosen, start)
    yield from (piece for piece in found if not shares(piece.text, judged))


def _installed(start: Path) -> Iterator[Piece]:
    own, files = text.tracked(start), _spread(_python_files())
    code = (piece for path in files for piece in _whole(path))
    prose = (piece for path in files for piece in _documentation(path))
    return _balanced(
        chain((piece for piece in own if not piece.prose), code),
        chain((piece for piece in own if piece.prose), _readmes(), prose),
    )


def telling_lines(texts: Iterable[str]) -> set[str]:
    """Lines that are long enough to tell where they are from."""
    found = (line.strip() for text in texts for line in text.split("\n"))
    return {line for line in found if len(line) >= _TELLING_CHARACTERS}


def shares(text: str, judged: set[str]) -> bool:
    """Whether `text` is a copy of what is judged by: it has two of those lines."""
    return len(telling_lines([text]) & judged) >= _SHARED_LINES


def _python_files() -> list[Path]:
    """Of the standard library and of all installed packages but those that are judged by; no tests."""
    library = Path(sysconfig.get_paths()["stdlib"])
    found = [path for path in library.rglob("*.py") if not _odd(path.relative_to(library))]
    for distribution in metadata.distributions():
        name = str(distribution.metadata["Name"] or "").lower().replace("-", "_")
        if name in text.JUDGED or name == "steerway":
            continue
        files = (file for file in distribution.files or () if file.suffix == ".py" and not _odd(Path(file)))
        found += [Path(str(distribution.locate_file(file))) for file in files]
    return found


def _odd(path: Path) -> bool:
    parts = path.parts
    return bool(_LEFT_OUT & set(parts)) or any("test" in part or part == "_vendor" for part in parts)


def _spread(paths: list[Path]) -> list[Path]:
    """In an order that names decide, so that no package comes in one piece."""
    return sorted(set(paths), key=lambda path: hashlib.sha256("/".join(path.parts[-3:]).encode()).digest())


def _whole(path: Path) -> Iterator[Piece]:
    content = text.read(path) if path.suffix in CODE else ""
    size = text.FILE_CHARACTERS
    for start in range(0, min(len(content), _PIECES_A_FILE * size), size):
        yield Piece(path.name, content[start : start + size], False)


def _documentation(path: Path) -> Iterator[Piece]:
    """The sentences of a module's documentation strings."""
    content = text.read(path)
    if content.count('"""') < 2:
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            tree = ast.parse(content)
    except (SyntaxError, RecursionError):
        return
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    strings = (ast.get_docstring(node) or "" for node in ast.walk(tree) if isinstance(node, kinds))
    prose = "\n\n".join(part for string in strings for part in text.paragraphs(string))
    if len(prose) >= _DOCSTRING_CHARACTERS:
        yield Piece(path.name, prose[: text.FILE_CHARACTERS], True)


def _readmes() -> Iterator[Piece]:
    """Of installed packages that are not among those judged by."""
    for distribution in sorted(metadata.distributions(), key=lambda found: str(found.metadata["Name"])):
        name = str(distribution.metadata["Name"] or "")
        if text.readme_is_judged(name):
            continue
        whole = "\n\n".join(text.paragraphs(str(distribution.metadata.json.get("description") or "")))
        if whole:
            yield Piece(name, whole[: text.FILE_CHARACTERS], True)


def _balanced(*kinds: Iterator[Piece]) -> Iterator[Piece]:
    """Always of the kind that has given fewest characters so far, until all are at their end."""
    given = dict.fromkeys(range(len(kinds)), 0)
    while given:
        least = min(given, key=lambda at: given[at])
        for piece in islice(kinds[least], 1):
            given[least] += len(piece.text)
            yield piece
            break
        else:
            del given[least]
