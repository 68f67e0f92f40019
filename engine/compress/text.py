"""Texts to calibrate on and to judge by, never the same files: code and prose, about half each."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path, PurePath

from engine.errors import UsageError
from engine.privacy.git import ask, repository
from engine.privacy.names import forbidden_name

PROSE = {".md", ".rst", ".txt", ".adoc", ".org"}
CODE = {
    ".py", ".pyi", ".rs", ".go", ".ts", ".tsx", ".js", ".jsx", ".java", ".c", ".h", ".cpp", ".hpp", ".cc",
    ".cu", ".rb", ".cs", ".kt", ".swift", ".php", ".sh", ".lua", ".sql", ".toml", ".yaml", ".yml", ".scala",
    ".ex", ".el",
}  # fmt: skip
_FILE_BYTES = range(200, 400_000)
_LONGEST_LINE = 500
# What one file may give, so that a few long ones do not become all there is.
FILE_CHARACTERS = 6_000
# Packages that Steerway depends on, so that they are wherever it runs: the first to judge by, the others to
# calibrate on where a repository holds too little.
JUDGED = ("textual", "httpx", "pygls", "huggingface_hub", "sqlite_utils")
_SPARE = ("prompt_toolkit", "rich", "click", "watchdog", "jupyter_client", "pathspec", "ipykernel")
_SPARE_PROSE = {"watchdog", "rich", "ruamel-yaml", "pathspec", "jupyter-client"}


@dataclass(frozen=True)
class Piece:
    """A file's beginning, and whether it is prose."""

    name: str
    text: str
    prose: bool


def calibration(chosen: Path | None, start: Path) -> list[Piece]:
    """Pieces of `chosen` (a file, a folder), or of the repository around `start`, then of installed packages.

    In an order that mixes prose, code and folders and depends on names only. Raises UsageError when `chosen`
    holds no text.
    """
    if chosen is not None and not chosen.exists():
        raise UsageError(
            f"there is no {chosen}", hint="--calibration takes a text file or a folder", subject=chosen
        )
    if chosen is not None and chosen.is_file():
        return list(_cut(chosen))
    own = list(_pieces(_below(chosen) if chosen else _listed(start)))
    if chosen is not None and not own:
        hint = "files with known endings count, .py or .md, of 200 to 400,000 bytes"
        raise UsageError(f"{chosen} holds no text or code to calibrate on", hint=hint, subject=chosen)
    spare = [] if chosen is not None else [*_installed(_SPARE), *_readmes(lambda name: name in _SPARE_PROSE)]
    return [*_mixed(own), *_mixed(spare)]


def tracked(start: Path) -> list[Piece]:
    """Pieces of the repository around `start`; none where there is no repository."""
    return _mixed(_pieces(_listed(start)))


def held_out(used: Path | None = None) -> list[Piece]:
    """Pieces to judge by, of packages that Steerway depends on; none below the folder `used`."""
    code = [*_installed(JUDGED, outside=used)]
    return [*_mixed(code), *_mixed([*_readmes(lambda name: name not in _SPARE_PROSE), *_reference()])]


def _listed(start: Path) -> list[Path]:
    top = repository(start)
    listed = ask(top, "ls-files", "-z") if top else None
    if top is None or listed is None:
        return []
    return [top / name for name in listed.decode("utf-8", "replace").split("\0") if name]


def _below(folder: Path) -> list[Path]:
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return [
        path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]


def _pieces(paths: Iterable[Path]) -> Iterator[Piece]:
    for path in paths:
        known = path.suffix.lower() in CODE | PROSE
        if known and not forbidden_name(PurePath(path)) and (text := read(path)):
            yield Piece(path.name, text[:FILE_CHARACTERS], path.suffix.lower() in PROSE)


def _cut(path: Path) -> Iterator[Piece]:
    """The whole of one file, in pieces."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read as text", hint=str(error), subject=path) from error
    prose = path.suffix.lower() not in CODE
    for start in range(0, len(text), FILE_CHARACTERS):
        yield Piece(path.name, text[start : start + FILE_CHARACTERS], prose)


def read(path: Path) -> str:
    """The file's text; empty for what is no text, too long, too short, or has lines nobody wrote."""
    try:
        if path.is_symlink() or path.stat().st_size not in _FILE_BYTES:
            return ""
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""
    return "" if "\0" in text or max(map(len, text.split("\n"))) > _LONGEST_LINE else text


def _installed(names: Sequence[str], *, outside: Path | None = None) -> Iterator[Piece]:
    for name in names:
        for path in _files(name):
            tests = any("test" in part or part == "_vendor" for part in path.parts[-3:])
            if not tests and not (outside and path.resolve().is_relative_to(outside.resolve())):
                yield from _pieces([path])


def _files(name: str) -> list[Path]:
    try:
        distribution = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return []
    return [
        Path(str(distribution.locate_file(file))) for file in distribution.files or () if file.suffix == ".py"
    ]


def _readmes(wanted: Callable[[str], bool]) -> Iterator[Piece]:
    for line in metadata.requires("steerway") or ():
        name = _plain(line)
        if "extra ==" in line or not wanted(name):
            continue
        try:
            text = str(metadata.metadata(name).json.get("description") or "")
        except metadata.PackageNotFoundError:
            continue
        if prose := "\n\n".join(paragraphs(text)):
            yield Piece(name, prose[:FILE_CHARACTERS], True)


def _plain(requirement: str) -> str:
    """The package's name, normalised."""
    return re.sub(r"[-_.]+", "-", re.split(r"[^A-Za-z0-9_.-]", requirement)[0]).lower()


def readme_is_judged(name: str) -> bool:
    """Whether the README of the package `name` is among what `held_out` gives."""
    plain = _plain(name)
    needed = {_plain(line) for line in metadata.requires("steerway") or () if "extra ==" not in line}
    return plain in needed and plain not in _SPARE_PROSE


def _reference() -> Iterator[Piece]:
    """Python's language reference, as its `help` shows it."""
    try:
        from pydoc_data.topics import topics
    except ImportError:  # left out of some distributions
        return
    for name, text in topics.items():
        if len(prose := "\n\n".join(paragraphs(text))) > 1000:
            yield Piece(name, prose[:FILE_CHARACTERS], True)


def paragraphs(text: str) -> Iterator[str]:
    """Those that people read as sentences: no code, tables, badges or lists of links."""
    for paragraph in re.split(r"\n\s*\n", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)):
        words = sum(map(str.isalpha, paragraph)) + paragraph.count(" ")
        plain = paragraph[:1].isalpha() and not re.search(r"https?://|[<>|]|::", paragraph)
        if plain and len(paragraph) > 80 and words > 0.85 * len(paragraph):
            yield paragraph.strip()


def _mixed(pieces: Iterable[Piece]) -> list[Piece]:
    """Prose and code in turns, each in an order that only names and texts decide."""
    found = sorted(pieces, key=lambda piece: hashlib.sha256(f"{piece.name}\0{piece.text}".encode()).digest())
    kinds = [[piece for piece in found if piece.prose is prose] for prose in (True, False)]
    longest = max(map(len, kinds))
    return [kind[at] for at in range(longest) for kind in kinds if at < len(kind)]
