"""Files that a repository keeps to itself: `.gitignore`, `.git/info/exclude`, `.steerwayignore`.

Git's own rules, through pathspec. Only those files are read, again when they change.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from engine.privacy import git

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

OWN, GIT, EXCLUDE = ".steerwayignore", ".gitignore", ".git/info/exclude"


def top_of(path: Path) -> Path:
    """The folder from which on ignore files count for `path`.

    The repository around it; without one, the farthest folder with such a file; else its own folder.
    """
    folder = path.parent
    if (found := git.repository(folder)) is not None:
        return found
    above = [each for each in folder.parents if any((each / name).exists() for name in (OWN, GIT))]
    return next((each for each in reversed(above) if not git.is_too_wide(each)), folder)


def ignored_by(path: Path, top: Path) -> str:
    """The ignore file that leaves out `path` (under `top`), relative to `top`; `""` when none does.

    A file that git tracks although a pattern matches it is not ignored, as in git; `.steerwayignore` holds
    for tracked files too.
    """
    if own := _matched(path, top, OWN):
        return own
    found = _matched(path, top, GIT)
    return found if found and not _is_tracked(path, top) else ""


def _matched(path: Path, top: Path, name: str) -> str:
    relative = path.relative_to(top)
    for count in range(1, len(relative.parts)):
        # Git's rule: nothing below an ignored folder can be taken back in, so each folder in turn.
        if by := _decided(top.joinpath(*relative.parts[:count]), top, name, slash="/"):
            return by
    return _decided(path, top, name)


def _decided(path: Path, top: Path, name: str, *, slash: str = "") -> str:
    """The nearest ignore file with an opinion, if that is to leave it out."""
    for file, folder in _files(path, top, name):
        spec = _spec(str(file), *_signature(file))
        verdict = (
            None if spec is None else spec.check_file(path.relative_to(folder).as_posix() + slash).include
        )
        if verdict is not None:
            return file.relative_to(top).as_posix() if verdict else ""
    return ""


def _files(path: Path, top: Path, name: str) -> Iterator[tuple[Path, Path]]:
    folder = path.parent
    while True:
        yield folder / name, folder
        if folder == top or folder == folder.parent:
            break
        folder = folder.parent
    if name == GIT:
        yield top / EXCLUDE, top


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


def _is_tracked(path: Path, top: Path) -> bool:
    """Git is asked again only when the index changed: this may be wanted at every keystroke."""
    if not (top / ".git").is_dir():  # a linked worktree has its index elsewhere
        return (top / ".git").exists() and git.is_tracked(path, top)
    return _remembered(path, top, _signature(top / ".git" / "index"))


@lru_cache(maxsize=512)
def _remembered(path: Path, top: Path, index: tuple[int, int]) -> bool:
    return index[1] > 0 and git.is_tracked(path, top)
