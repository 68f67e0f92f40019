"""From a path in a journal to text, or to one line that says why not."""

from __future__ import annotations

import os
import stat
from pathlib import Path, PurePosixPath

from engine.privacy.ignores import ignored_by
from engine.privacy.names import forbidden_name
from journal.resolvers.content import ReferenceProblem, Scope

LIMIT_BYTES = 1_000_000
_SNIFF_BYTES = 8192
_FOLDERS_LOOKED_AT = 100


def find(target: str, scope: Scope) -> tuple[Path, str]:
    """The file that `target` means, and its name: its path below the root, or else the repository.

    Relative to the journal's folder, then the workspace's root, then the repository's. Raises
    ReferenceProblem when it is missing, outside, secret or ignored.
    """
    if not target or "\0" in target:
        raise ReferenceProblem("the path is empty" if not target else "the path holds a NUL character")
    path = _existing(target, scope)
    top = scope.boundary.resolve()
    real = _real(path, target)
    if not real.is_relative_to(top):
        raise ReferenceProblem(
            f"{target} leads out of the workspace ({top.name}), copy what is needed into it"
        )
    secret = forbidden_name(PurePosixPath(target)) or forbidden_name(real.relative_to(top))
    if secret:
        raise ReferenceProblem(f"{target} is left out: {secret} may hold secrets")
    by = ignored_by(real, top)
    if by:
        raise ReferenceProblem(f"{target} is left out: {by} ignores it")
    root = scope.root.resolve()
    below = root if real.is_relative_to(root) else top
    return real, real.relative_to(below).as_posix()


def read(path: Path, target: str) -> str:
    """The text of a file, newlines as `\\n`. Raises ReferenceProblem for what is no readable text."""
    data = read_bytes(path, target)
    if b"\0" in data[:_SNIFF_BYTES]:
        raise ReferenceProblem(f"{target} is a binary file")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ReferenceProblem(f"{target} is not UTF-8 (line {line}), convert it first") from error
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def read_bytes(path: Path, target: str) -> bytes:
    """The bytes of a regular file of at most `LIMIT_BYTES`; raises ReferenceProblem."""
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise ReferenceProblem(f"{target} is a folder, name a file in it")
        if not stat.S_ISREG(status.st_mode):
            raise ReferenceProblem(f"{target} is no regular file")
        if status.st_size > LIMIT_BYTES:
            size = f"{status.st_size / 1e6:.1f} MB"
            raise ReferenceProblem(f"{target} is too large ({size}, at most {LIMIT_BYTES // 10**6} MB)")
        with path.open("rb") as file:
            return file.read(LIMIT_BYTES + 1)
    except OSError as error:
        raise ReferenceProblem(f"{target} cannot be read ({error.strerror or error})") from error


def _existing(target: str, scope: Scope) -> Path:
    for folder in dict.fromkeys((scope.base, scope.root, scope.boundary)):
        candidate = folder / target
        try:
            if candidate.exists() or candidate.is_symlink():
                return candidate
        except OSError as error:
            raise ReferenceProblem(f"{target} cannot be read ({error.strerror})") from error
    if not _inside(scope.base / target, scope.boundary):
        raise ReferenceProblem(f"{target} leads out of the workspace ({scope.boundary.name})")
    raise ReferenceProblem(f"{target} does not exist{_near(target, scope)}")


def _inside(path: Path, top: Path) -> bool:
    return path.resolve().is_relative_to(top.resolve())


def _near(target: str, scope: Scope) -> str:
    """Where a file of that name is instead, at most two folders below the root; a bounded look."""
    name = PurePosixPath(target).name
    folders = [scope.base, scope.root]
    for folder in folders:
        if name and len(folders) < _FOLDERS_LOOKED_AT:
            folders += (
                _folders_in(folder)
                if folder in (scope.base, scope.root) or folder.parent == scope.root
                else []
            )
    found = next((folder / name for folder in folders if name and (folder / name).is_file()), None)
    return f", is it {found.relative_to(scope.boundary).as_posix()}?" if found is not None else ""


def _folders_in(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            inner = [
                Path(e.path)
                for e in entries
                if not e.name.startswith(".") and e.is_dir(follow_symlinks=False)
            ]
    except OSError:
        return []
    return sorted(path for path in inner if path.name != "node_modules")[:_FOLDERS_LOOKED_AT]


def _real(path: Path, target: str) -> Path:
    try:
        return path.resolve(strict=True)
    except FileNotFoundError as error:
        raise ReferenceProblem(f"{target} is a link to a file that does not exist") from error
    except (OSError, RuntimeError) as error:  # a loop of links is a RuntimeError before Python 3.13
        raise ReferenceProblem(
            f"{target} cannot be read ({getattr(error, 'strerror', None) or error})"
        ) from error
