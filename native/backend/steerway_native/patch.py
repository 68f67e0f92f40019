"""Applies unified diffs exactly: at the given line, with the given context, or not at all.

The base is pinned by hash, so a hunk that does not fit is an error in the patch and never a matter of fuzz.
`patch` and `git apply` are not asked: neither says in one line which hunk of which patch failed and why.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from .errors import PatchFailed

_HUNK = re.compile(r"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")


@dataclass(frozen=True)
class Hunk:
    number: int  # within the patch, from 1
    file: str
    line: int  # in the original file, from 1
    old: tuple[str, ...]
    new: tuple[str, ...]


@dataclass
class _Open:
    """A hunk being read."""

    number: int
    file: str
    line: int
    old_left: int
    new_left: int
    old: list[str] = field(default_factory=list)
    new: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        return self.old_left <= 0 and self.new_left <= 0

    def add(self, line: str) -> None:
        if line[:1] in (" ", "-"):
            self.old.append(line[1:])
            self.old_left -= 1
        if line[:1] in (" ", "+"):
            self.new.append(line[1:])
            self.new_left -= 1

    def close(self) -> Hunk:
        return Hunk(self.number, self.file, self.line, tuple(self.old), tuple(self.new))


def parse(patch: Path) -> list[Hunk]:
    """The hunks of a patch file; text before the first `---` is its documentation. Raises PatchFailed."""
    hunks: list[Hunk] = []
    file, current = "", None
    for number, line in enumerate(patch.read_text(encoding="utf-8").split("\n"), 1):
        if current is not None and not current.complete:
            if line[:1] not in (" ", "-", "+"):
                raise PatchFailed(f"{patch.name}: line {number}: hunk {current.number} ends too early")
            current.add(line)
        elif line.startswith("+++ "):
            file = _inside(line[4:].split("\t")[0].strip(), patch)
        elif match := _HUNK.match(line):
            if not file:
                raise PatchFailed(f"{patch.name}: line {number}: a hunk without a file")
            start, old, _, new = match.groups()
            current = _Open(len(hunks) + 1, file, int(start), int(old or 1), int(new or 1))
        if current is not None and current.complete:
            hunks.append(current.close())
            current = None
    if current is not None or not hunks:
        raise PatchFailed(f"{patch.name}: {'its last hunk is cut short' if current else 'no hunk in it'}")
    return hunks


def _inside(name: str, patch: Path) -> str:
    path = PurePosixPath(name.removeprefix("b/"))
    if path.is_absolute() or ".." in path.parts:
        raise PatchFailed(f"{patch.name}: {name} is outside the source tree")
    return str(path)


def files(patch: Path) -> list[str]:
    """Paths the patch changes, relative to the tree."""
    return list(dict.fromkeys(hunk.file for hunk in parse(patch)))


def apply(patch: Path, tree: Path) -> None:
    """Apply all hunks or, on PatchFailed, change nothing."""
    hunks = parse(patch)
    changed = {
        name: _changed(patch, tree / name, [h for h in hunks if h.file == name]) for name in files(patch)
    }
    for name, text in changed.items():
        (tree / name).write_text(text, encoding="utf-8", newline="")


def _changed(patch: Path, path: Path, hunks: list[Hunk]) -> str:
    if not path.is_file():
        raise PatchFailed(f"{patch.name}: hunk {hunks[0].number}: {hunks[0].file} is not in the source tree")
    with path.open(encoding="utf-8", newline="") as stream:
        lines = stream.read().split("\n")
    offset = 0
    for hunk in hunks:
        at = hunk.line - 1 + offset + (not hunk.old)  # without old lines the number names the line before
        _check(patch, hunk, lines[at : at + len(hunk.old)])
        lines[at : at + len(hunk.old)] = hunk.new
        offset += len(hunk.new) - len(hunk.old)
    return "\n".join(lines)


def _check(patch: Path, hunk: Hunk, found: list[str]) -> None:
    for i, expected in enumerate(hunk.old):
        actual = found[i] if i < len(found) else None
        if actual != expected:
            shown = "the end of the file" if actual is None else repr(actual)
            raise PatchFailed(
                f"{patch.name}: hunk {hunk.number} does not fit {hunk.file}, line {hunk.line + i}: "
                f"expected {expected!r}, found {shown}"
            )
