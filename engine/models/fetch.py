"""Running a downloader as a child process while watching how much it has written."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

POLL_SECONDS = 0.25
OnBytes = Callable[[int], None]


class SourceFailed(Exception):
    """One source could not give the file; the message is the reason in a few words. The next is tried."""


def pip_command() -> list[str] | None:
    """How to run pip here: this interpreter's, else through uv, else one on PATH. None: there is none.

    An interpreter in a `uv` environment has no pip of its own.
    """
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-P", "-m", "pip"]  # -P: a `pip.py` in the current folder is not pip
    if uv := shutil.which("uv"):
        return [uv, "tool", "run", "pip"]
    for name in ("pip3", "pip"):
        if found := shutil.which(name):
            return [found]
    return None


def watch(
    command: Sequence[str], *, folder: Path, on_bytes: OnBytes, environ: Mapping[str, str] | None = None
) -> None:
    """Run `command`, calling `on_bytes` with the size of the largest file below `folder` as it grows.

    The child never outlives the call. Raises SourceFailed with the last line that names a problem.
    """
    with tempfile.TemporaryFile() as log:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environ or {})},
        )
        try:
            _poll(child, folder, on_bytes)
        finally:
            _end(child)
        if child.returncode:
            log.seek(0)
            raise SourceFailed(_reason(log.read().decode(errors="replace"), child.returncode))


def _poll(child: subprocess.Popen[bytes], folder: Path, on_bytes: OnBytes) -> None:
    while True:
        with suppress(subprocess.TimeoutExpired):
            child.wait(POLL_SECONDS)
            return
        on_bytes(max(_sizes(folder), default=0))


def _end(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(3)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _reason(log: str, code: int) -> str:
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    problems = [line for line in lines if line.lower().startswith("error")]
    line = (problems or lines or [f"it ended with code {code}"])[-1]
    return line.removeprefix("ERROR: ")[:200]


def bytes_below(folder: Path) -> int:
    """Bytes of all files below `folder`."""
    return sum(_sizes(folder))


def _sizes(folder: Path) -> Iterator[int]:
    for parent, _, files in os.walk(folder):
        for name in files:
            with suppress(OSError):  # a downloader renames and deletes meanwhile
                yield (Path(parent) / name).stat().st_size
