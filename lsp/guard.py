"""Which files get no suggestion, and why: key files, ignored ones, what is not text a person writes."""

from __future__ import annotations

from pathlib import Path

from engine.privacy.ignores import ignored_by, top_of
from engine.privacy.names import forbidden_name

_LARGEST_FILE_CHARACTERS = 2_000_000


def refusal(path: Path | None, *, scheme: str = "file", characters: int = 0) -> str:
    """One line of why not, empty when suggestions are fine. `path` None: a buffer that is not a file."""
    if scheme not in ("file", "untitled"):
        return f"{scheme}: documents get no suggestions"
    if characters > _LARGEST_FILE_CHARACTERS:
        return f"the file is longer than {_LARGEST_FILE_CHARACTERS:,} characters"
    if path is None:
        return ""
    if secret := forbidden_name(path) or forbidden_name(_real(path)):
        return f"{secret} may hold secrets"
    if by := ignored_by(path, top_of(path)):
        return f"{path.name} is ignored by {by}"
    return ""


def _real(path: Path) -> Path:
    """Where links lead: a key file is one under any name."""
    try:
        return path.resolve()
    except (OSError, RuntimeError):  # a loop of links
        return path
