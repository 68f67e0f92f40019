"""Files that a repository keeps to itself: `.gitignore`, `.git/info/exclude`, `.steerwayignore`."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from journal.resolvers import git

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

_OWN, _GIT = ".steerwayignore", ".gitignore"


def ignored_by(path: Path, top: Path) -> str:
    """The name of the ignore file that leaves out `path` (under `top`), `""` when none does.

    A file that git tracks although a pattern matches it is not ignored, as in git.
    """
    if _matches(path, top, _OWN):
        return _OWN
    if _matches(path, top, _GIT) and not git.is_tracked(path, top):
        return _GIT
    return ""


def _matches(path: Path, top: Path, name: str) -> bool:
    relative = path.relative_to(top)
    folders = [top.joinpath(*relative.parts[:count]) for count in range(1, len(relative.parts))]
    if any(_decided(folder, top, name, slash="/") for folder in folders):
        return True  # git's rule: nothing below an ignored folder can be taken back in
    return _decided(path, top, name)


def _decided(path: Path, top: Path, name: str, *, slash: str = "") -> bool:
    """What the nearest ignore file with an opinion says."""
    for file, folder in _files(path, top, name):
        spec = _spec(str(file), *_signature(file))
        if spec is None:
            continue
        verdict = spec.check_file(path.relative_to(folder).as_posix() + slash).include
        if verdict is not None:
            return verdict
    return False


def _files(path: Path, top: Path, name: str) -> Iterator[tuple[Path, Path]]:
    folder = path.parent
    while True:
        yield folder / name, folder
        if folder == top or folder == folder.parent:
            break
        folder = folder.parent
    if name == _GIT:
        yield top / ".git" / "info" / "exclude", top


def _signature(file: Path) -> tuple[int, int]:
    try:
        status = file.stat()
    except OSError:
        return 0, -1
    return status.st_mtime_ns, status.st_size


@lru_cache(maxsize=512)
def _spec(file: str, mtime_ns: int, size: int) -> GitIgnoreSpec | None:
    if size <= 0:
        return None
    from pathspec import GitIgnoreSpec

    try:
        lines = Path(file).read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return None
    return GitIgnoreSpec.from_lines(line for line in lines if _is_pattern(line))


def _is_pattern(line: str) -> bool:
    """Whether pathspec accepts a line: git skips the ones it cannot use, and so do we."""
    from pathspec import GitIgnoreSpec

    try:
        GitIgnoreSpec.from_lines([line])
    except ValueError:
        return False
    return True
