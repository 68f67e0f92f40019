"""Whether a journal's cells may run: its code was agreed to on this machine, by this user.

Agreement is kept per content hash of the code cells, in the user's state folder: a journal that was pulled
with other commands in it is asked about again, one whose notes changed is not.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from journal.document import Cell, Journal
from journal.errors import NotTrusted

_LIMIT = 10_000

# (what a person is told, the pattern). Marked in the question, never blocked: it is the user's machine.
_DESTRUCTIVE: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (name, re.compile(pattern, re.MULTILINE))
    for name, pattern in (
        (
            "removes files",
            r"\brm\s+(?:-\w+\s+)*-\w*[rRf]|\brm\s+--(?:recursive|force)|\bfind\b.*\s-delete\b",
        ),
        ("removes files", r"\bshutil\.rmtree\(|\bos\.(?:remove|unlink|removedirs)\("),
        (
            "rewrites a remote branch",
            r"\bgit\s+push\b[^\n;|&]*\s(?:--force|-f\b|\+\w)",
        ),
        ("throws changes away", r"\bgit\s+(?:reset\s+--hard|clean\s+-\w*f|checkout\s+--\s|branch\s+-D)"),
        ("formats a disk", r"\bmkfs(?:\.\w+)?\b|\bwipefs\b|\bfdisk\b|\bparted\b"),
        ("writes to a device", r"\bdd\b[^\n]*\bof=/dev/|>\s*/dev/(?:sd|nvme|vd|hd|disk|mmcblk)"),
        ("runs what it downloads", r"\b(?:curl|wget)\b[^\n]*\|\s*(?:sudo\s+)?(?:ba|z|da)?sh\b"),
        ("acts as root", r"(?:^|[\s;&|])(?:sudo|doas)\s"),
        ("drops a database", r"(?i)\bdrop\s+(?:database|table|schema)\b"),
        (
            "removes cloud resources",
            r"\bterraform\s+destroy\b|\bkubectl\s+delete\b|\bdocker\s+system\s+prune\b",
        ),
        ("changes rights everywhere", r"\bchmod\s+-R\s+(?:777|a\+)|\bchown\s+-R\s"),
        ("ends the machine's processes", r":\(\)\s*\{\s*:\|:&\s*\}|\bkillall\b|\bshutdown\b|\breboot\b"),
    )
)


@dataclass(frozen=True)
class Danger:
    """A line of a cell that a person should look at before it runs."""

    cell: Cell
    line: str
    why: str


def destructive(text: str) -> tuple[tuple[str, str], ...]:
    """Lines of `text` that destroy something, each with what it does."""
    found = []
    for line in text.splitlines():
        why = next((name for name, pattern in _DESTRUCTIVE if pattern.search(line)), "")
        if why and not line.lstrip().startswith("#"):
            found.append((line.strip(), why))
    return tuple(found)


def dangers(cells: Iterable[Cell]) -> tuple[Danger, ...]:
    """What in these cells destroys something."""
    return tuple(Danger(cell, line, why) for cell in cells for line, why in destructive(cell.text))


def digest(journal: Journal) -> str:
    """Hash of all that the journal could run; "" when it has no code."""
    code = [(cell.kind, cell.text) for cell in journal.cells if cell.is_code]
    if not code:
        return ""
    fields = [field.encode("utf-8", "replace") for pair in code for field in pair]
    joined = b"".join(len(field).to_bytes(8, "little") + field for field in fields)
    return hashlib.sha256(joined).hexdigest()


class Trust:
    """What this user has agreed to, in one small file of the user's state folder."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path or _default_path()

    def knows(self, journal: Journal) -> bool:
        """Whether the journal's code was agreed to; True when there is none."""
        wanted = digest(journal)
        return not wanted or wanted in self._known()

    def remember(self, journal: Journal) -> None:
        """Agree to the journal's code: it was written here, or the user said so."""
        wanted = digest(journal)
        known = self._known()
        if not wanted or wanted in known:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        part = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        part.write_text("".join(f"{line}\n" for line in [*known, wanted][-_LIMIT:]), encoding="ascii")
        part.replace(self._path)

    def require(
        self,
        journal: Journal,
        path: Path,
        *,
        agreed: bool = False,
        ask: Callable[[tuple[Danger, ...]], bool] | None = None,
        cells: Iterable[Cell] = (),
    ) -> None:
        """Return when the journal may run. `agreed` says yes at once (`--trust`); `ask` puts the question.

        `cells` are those about to run: what they destroy is shown in the question. Raises NotTrusted.
        """
        if self.knows(journal):
            return
        if not agreed and (ask is None or not ask(dangers(cells))):
            raise NotTrusted(
                f"{path.name} was not written here and has not been agreed to",
                hint="read its cells, then run it with --trust",
                subject=path,
            )
        self.remember(journal)

    def _known(self) -> list[str]:
        try:
            return self._path.read_text(encoding="ascii", errors="replace").split()
        except FileNotFoundError:
            return []


def _default_path() -> Path:
    from engine.settings import folders

    return folders().state / "trusted-journals"
