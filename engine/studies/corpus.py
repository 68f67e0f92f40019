"""Real code to measure on: Python packages of this environment, or folders, and what their files import."""

from __future__ import annotations

import ast
import hashlib
import random
import re
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import metadata
from pathlib import Path, PurePosixPath

from engine.errors import UsageError

LEAST_FILES = 6
_FILE_BYTES = range(1_500, 120_000)
_LONGEST_LINE = 200
_SKIPPED = {"_vendor", "vendor", "vendored", "_vendored", "test", "tests", "testing", "examples", "docs"}
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]{2,}")


@dataclass(frozen=True)
class SourceFile:
    """One Python file: `path` is relative to the folder its package stands in."""

    path: PurePosixPath
    text: str

    @property
    def module(self) -> str:
        """Its dotted name."""
        parts = self.path.with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @cached_property
    def words(self) -> frozenset[str]:
        """Its identifiers of three letters or more."""
        return frozenset(_WORD.findall(self.text))


@dataclass(frozen=True)
class Package:
    """A package's files in the order of their paths; `digest` is over paths and texts."""

    name: str
    version: str
    files: tuple[SourceFile, ...]

    @cached_property
    def digest(self) -> str:
        """The first 16 hex digits of SHA-256 over its files."""
        found = hashlib.sha256()
        for file in self.files:
            for part in (str(file.path), file.text):
                data = part.encode()
                found.update(len(data).to_bytes(8, "little") + data)
        return found.hexdigest()[:16]

    @cached_property
    def modules(self) -> dict[str, SourceFile]:
        """Its files by dotted name."""
        return {file.module: file for file in self.files}


def installed(only: Container[str] | None = None) -> list[Package]:
    """Packages of this environment with at least LEAST_FILES usable files, by name; each import name once.

    `only` names the ones to read; None reads all.
    """
    found: dict[str, Package] = {}
    for distribution in metadata.distributions():
        name = distribution.metadata["Name"] or ""
        for top, files in sorted(_tops(distribution, only).items()):
            package = Package(top, distribution.version, tuple(sorted(files, key=lambda file: file.path)))
            if name.lower() != "steerway" and len(package.files) >= LEAST_FILES:
                found.setdefault(top, package)
    return [found[top] for top in sorted(found)]


def folder(path: Path) -> Package:
    """The Python files below `path` as one package. Raises UsageError when there are too few."""
    if not path.is_dir():
        raise UsageError(f"{path} is no folder", hint="name a folder with Python files", subject=path)
    root = path.resolve()
    hidden = (file for file in sorted(root.rglob("*.py")) if not _hidden(file.relative_to(root)))
    files = [read for file in hidden if (read := _read(file, PurePosixPath(file.relative_to(root))))]
    if len(files) < LEAST_FILES:
        raise UsageError(
            f"{path} has {len(files)} usable Python files of {LEAST_FILES}",
            hint=f"files of {_FILE_BYTES.start} to {_FILE_BYTES.stop} bytes count, tests do not",
            subject=path,
        )
    package = Package(root.name, "", tuple(files))
    return Package(package.name, package.digest, package.files)


def choose(packages: Sequence[Package], count: int, *, seed: int) -> list[Package]:
    """`count` of them, the same for the same names and seed, in a seeded order."""
    chosen = sorted(packages, key=lambda package: package.name)
    random.Random(f"packages:{seed}").shuffle(chosen)
    return chosen[:count]


def imports(package: Package, file: SourceFile) -> dict[str, set[str]]:
    """Modules of `package` that `file` imports, in order, each with the names it takes from them."""
    found: dict[str, set[str]] = {}
    for module, name in _imported(file):
        target = f"{module}.{name}" if f"{module}.{name}" in package.modules else module
        if target in package.modules and target != file.module:
            found.setdefault(target, set()).add(name)
    return found


@cache
def _imported(file: SourceFile) -> tuple[tuple[str, str], ...]:
    return tuple(_walk(file))


def _walk(file: SourceFile) -> Iterator[tuple[str, str]]:
    try:
        tree = ast.parse(file.text)
    except (SyntaxError, ValueError):
        return
    parts = file.module.split(".")
    inside = parts if file.path.name == "__init__.py" else parts[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, alias.asname or alias.name.rpartition(".")[2]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = inside[: len(inside) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            yield from ((module, alias.name) for alias in node.names)


def defined_at(file: SourceFile, names: Iterable[str]) -> int:
    """The line (from 0) of the first definition of one of `names`; 0 when there is none."""
    for name in sorted(names):
        pattern = rf"^[ \t]*(?:async +def|def|class) +{re.escape(name)}\b|^{re.escape(name)} *[:=]"
        if match := re.search(pattern, file.text, re.M):
            return file.text.count("\n", 0, match.start())
    return 0


def words(text: str) -> set[str]:
    """Identifiers of three letters or more."""
    return set(_WORD.findall(text))


def _tops(distribution: metadata.Distribution, only: Container[str] | None) -> dict[str, list[SourceFile]]:
    tops: dict[str, list[SourceFile]] = {}
    for entry in distribution.files or ():
        if entry.suffix != ".py" or len(entry.parts) < 2 or _hidden(Path(*entry.parts)):
            continue
        if entry.parts[0].endswith((".dist-info", ".data")) or (
            only is not None and entry.parts[0] not in only
        ):
            continue
        file = _read(Path(str(distribution.locate_file(entry))), PurePosixPath(*entry.parts))
        if file is not None:
            tops.setdefault(entry.parts[0], []).append(file)
    return tops


def _hidden(path: Path) -> bool:
    return any(part in _SKIPPED or part.startswith((".", "test_")) or part == ".." for part in path.parts)


def _read(path: Path, name: PurePosixPath) -> SourceFile | None:
    try:
        if path.stat().st_size not in _FILE_BYTES:
            return None
        text = path.read_text(encoding="utf-8").replace("\r\n", "\n")
    except (OSError, UnicodeDecodeError):
        return None
    if max(map(len, text.split("\n"))) > _LONGEST_LINE or "\r" in text:
        return None
    return SourceFile(name, text.rstrip("\n") + "\n")
