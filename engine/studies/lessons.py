"""Windows to adapt a model on: pieces of Python that it is not judged on."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path

import engine
from engine.compress.extended import shares, telling_lines
from engine.compress.text import JUDGED
from engine.errors import UsageError
from engine.heads import windows
from engine.heads.windows import Tokenizer, Window
from engine.studies import corpus
from engine.studies.corpus import Package

_OWN = Path(engine.__file__).parent


def lessons(
    folders: Sequence[Path], judged: Sequence[Window], vocabulary: Tokenizer, *, tokens: int, longest: int,
    seed: int,
) -> list[Window]:  # fmt: skip
    """Windows of at most `longest` tokens until there are `tokens` of them, one a file, in a seeded order.

    Of the Python files in `folders` (engine/ by default) and of installed packages, of each in turn, but for
    those that `judged` are of or share lines with, and packages that Steerway judges models by. Raises
    UsageError when there is not one.
    """
    names = {window.name for window in judged}
    known = telling_lines(b"".join(map(vocabulary.piece, window.tokens)).decode() for window in judged)
    found: list[Window] = []
    count = 0
    for name, text in _texts(folders, seed):
        if count >= tokens:
            break
        if name in names or shares(text, known):
            continue
        if window := windows.of_file(name, text, vocabulary, longest):
            found.append(window)
            count += len(window.tokens)
    if not found:
        raise UsageError("there is no Python to train on", hint="name folders with --files")
    return found


def digest(found: Sequence[Window]) -> str:
    """16 hex digits over `found`."""
    return hashlib.sha256(" ".join(window.digest for window in found).encode()).hexdigest()[:16]


def _texts(folders: Sequence[Path], seed: int) -> Iterator[tuple[str, str]]:
    """A file of each package in turn, so that the largest do not become all there is."""
    packages = [corpus.folder(path) for path in folders or [_OWN] if path.is_dir()]
    packages += [package for package in corpus.installed() if package.name not in JUDGED]
    for turn in zip_longest(*(_shuffled(package, seed) for package in packages)):
        yield from (each for each in turn if each is not None)


def _shuffled(package: Package, seed: int) -> list[tuple[str, str]]:
    """Its files; those of a folder are named as windows of it are, with the folder's name in front."""
    files = [
        (
            str(file.path)
            if str(file.path).startswith(f"{package.name}/")
            else f"{package.name}/{file.path}",
            file.text,
        )
        for file in package.files
    ]
    random.Random(f"lessons:{seed}:{package.name}").shuffle(files)
    return files
