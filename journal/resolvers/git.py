"""Earlier, committed contents of a file."""

from __future__ import annotations

from pathlib import Path

from engine.privacy.git import ask


def versions(path: Path, top: Path, *, limit: int) -> list[bytes]:
    """The last `limit` committed contents of `path`, newest first; empty without git."""
    relative = path.relative_to(top).as_posix()
    commits = ask(top, "rev-list", f"--max-count={limit}", "HEAD", "--", f":(literal){relative}")
    if not commits:
        return []
    wanted = "".join(f"{commit}:{relative}\n" for commit in commits.decode("ascii").split())
    answer = ask(top, "cat-file", "--batch", text=wanted.encode("utf-8", "surrogateescape"))
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
