"""The product as a person starts it: the `steerway` beside this interpreter, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

STEERWAY = Path(sys.executable).with_name("steerway")


def steerway(
    *arguments: object, cwd: Path, env: dict[str, str] | None = None, timeout: float = 240
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, without a terminal and without standard input."""
    return subprocess.run(
        [STEERWAY, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def complaint(done: subprocess.CompletedProcess[str]) -> str:
    """The one line a failing command says; fails when it is not exactly one, or a traceback."""
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("steerway: ")
    return lines[0]
