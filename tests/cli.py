"""The product as a person starts it: the `steerway` beside this interpreter, in a process of its own."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

STEERWAY = Path(sys.executable).with_name("steerway")


def obey_permissions() -> None:
    """In a child: give up what lets root write where permissions forbid it (Linux capabilities 1 to 3)."""
    if os.geteuid() == 0 and sys.platform == "linux":
        drop_from_bounding_set = 24
        for capability in (1, 2, 3):
            ctypes.CDLL(None).prctl(drop_from_bounding_set, capability, 0, 0, 0)


def steerway(
    *arguments: object, cwd: Path, env: dict[str, str] | None = None, timeout: float = 240
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, without a terminal, without standard input, bound by permissions."""
    return subprocess.run(
        [STEERWAY, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        preexec_fn=obey_permissions,
    )


def complaint(done: subprocess.CompletedProcess[str]) -> str:
    """The one line a failing command says; fails when it is not exactly one, or a traceback."""
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("steerway: ")
    return lines[0]
