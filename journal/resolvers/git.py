"""The few questions put to git, so that a hostile repository cannot answer them with a program.

No hook, pager, file monitor, filter, text conversion or fetch can run: only plumbing that reads objects
and the index, with lazy fetching and every protocol off.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

_SAFE = ("--no-pager", "--no-optional-locks", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null")
_TIMEOUT_SECONDS = 5.0
_ENVIRONMENT = {"GIT_NO_LAZY_FETCH": "1", "GIT_ALLOW_PROTOCOL": "none", "GIT_TERMINAL_PROMPT": "0"}


def is_tracked(path: Path, top: Path) -> bool:
    """Whether the index of the repository at `top` holds `path`; False without git or a repository."""
    relative = path.relative_to(top).as_posix()
    return _git(top, "ls-files", "--error-unmatch", "-z", "--", f":(literal){relative}") is not None


def versions(path: Path, top: Path, *, limit: int) -> list[bytes]:
    """The last `limit` committed contents of `path`, newest first; empty without git."""
    relative = path.relative_to(top).as_posix()
    commits = _git(top, "rev-list", f"--max-count={limit}", "HEAD", "--", f":(literal){relative}")
    if not commits:
        return []
    wanted = "".join(f"{commit}:{relative}\n" for commit in commits.decode("ascii").split())
    answer = _git(top, "cat-file", "--batch", text=wanted.encode("utf-8", "surrogateescape"))
    return _blobs(answer or b"")


def _blobs(answer: bytes) -> list[bytes]:
    found: list[bytes] = []
    while answer:
        head, _, answer = answer.partition(b"\n")
        words = head.split(b" ")
        if len(words) == 3 and words[1] == b"blob":
            size = int(words[2])
            found.append(answer[:size])
            answer = answer[size + 1 :]
    return found


def _git(top: Path, *arguments: str, text: bytes = b"") -> bytes | None:
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
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
