"""The repository around a folder, and questions to git that it cannot answer with a program.

No hook, pager, file monitor, filter, text conversion or fetch can run: only plumbing that reads objects
and the index, with lazy fetching and every protocol off.
"""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

_SAFE = ("--no-pager", "--no-optional-locks", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null")
_TIMEOUT_SECONDS = 5.0
_ENVIRONMENT = {"GIT_NO_LAZY_FETCH": "1", "GIT_ALLOW_PROTOCOL": "none", "GIT_TERMINAL_PROMPT": "0"}


def repository(folder: Path) -> Path | None:
    """The nearest folder from `folder` up with a `.git`, None when there is none.

    Above `folder`, those that hold too much (`is_too_wide`) are passed over.
    """
    for candidate in (folder, *folder.parents):
        if (candidate / ".git").exists() and (candidate == folder or not is_too_wide(candidate)):
            return candidate
    return None


def is_too_wide(folder: Path) -> bool:
    """Whether a folder says nothing about what is far below it: a disk, a home, a folder of everybody."""
    try:
        return folder in (Path(folder.anchor), Path.home()) or bool(folder.stat().st_mode & stat.S_IWOTH)
    except (OSError, RuntimeError):  # no such folder; no home to be found
        return True


def is_tracked(path: Path, top: Path) -> bool:
    """Whether the index of the repository at `top` holds `path`; False without git or a repository."""
    relative = path.relative_to(top).as_posix()
    return ask(top, "ls-files", "--error-unmatch", "-z", "--", f":(literal){relative}") is not None


def ask(top: Path, *arguments: str, text: bytes = b"") -> bytes | None:
    """What `git ARGUMENTS` prints for `text` on its input; None when it fails or takes too long."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(
            ["git", *_SAFE, "-C", str(top), *arguments],
            input=text,
            capture_output=True,
            timeout=_TIMEOUT_SECONDS,
            env={**kept, **_ENVIRONMENT},
            check=False,
        )
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
