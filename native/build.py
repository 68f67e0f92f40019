"""Build the patched llama-cpp-python and install it into an environment, with progress.

    python native/build.py [--python .venv/bin/python] [--wheel-only] [--quiet]

Does nothing when the environment already has exactly this build; takes seconds when the wheel is cached.
`pip install ./native` does the same without the progress.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

NATIVE = Path(__file__).resolve().parent
sys.path.insert(0, str(NATIVE / "backend"))

from steerway_native import cache, identity, pins, wheel  # noqa: E402
from steerway_native.errors import NativeError  # noqa: E402

_STEP = re.compile(r"\[(\d+)/(\d+)\]")
_OURS = re.compile(r"steerway-native: (.*)")
_TAIL_LINES = 30


class Progress:
    """Stages and percentages on stderr: one line redrawn on a terminal, every tenth percent elsewhere."""

    def __init__(self, *, quiet: bool) -> None:
        self.started = time.monotonic()
        self.quiet = quiet
        self.redraw = sys.stderr.isatty()
        self.shown = -1

    def stage(self, text: str) -> None:
        self._show(text, end="\n")

    def percent(self, done: int, total: int) -> None:
        percent = 100 * done // max(total, 1)
        if self.redraw:
            self._show(f"compiling {percent} % ({done} of {total})", end="\r" if done < total else "\n")
        elif percent // 10 > self.shown // 10:
            self._show(f"compiling {percent} %", end="\n")
        self.shown = percent

    def _show(self, text: str, *, end: str) -> None:
        if not self.quiet:
            elapsed = time.monotonic() - self.started
            clear = "\x1b[K" if self.redraw else ""
            print(f"native  {elapsed:4.0f} s  {text}{clear}", end=end, file=sys.stderr, flush=True)


def installed_key(python: str) -> str:
    """Key of the build in that environment; "" for none or a stock one."""
    code = "import sysconfig; print(sysconfig.get_path('platlib'))"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise NativeError(f"{python} does not run: {done.stderr.strip()}")
    record = Path(done.stdout.strip()) / "llama_cpp" / "steerway.json"
    try:
        return str(json.loads(record.read_text(encoding="utf-8"))["key"])
    except (OSError, ValueError, KeyError):
        return ""


def build(python: str, progress: Progress) -> Path:
    """The wheel, from the cache or built by pip from this folder."""
    key = identity.key()
    if found := wheel.cached(key):
        progress.stage(f"{found.name} is in the cache")
        return found
    progress.stage("preparing the build environment")
    log = cache.folder() / "build.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="steerway-wheel-") as out:
        command = [python, "-m", "pip", "wheel", "-v", "--no-deps", "--no-cache-dir", "-w", out, str(NATIVE)]
        _watch(command, log, progress)
    found = wheel.cached(key)
    if found is None:
        raise NativeError(f"pip built no wheel for this machine and these options: see {log}")
    return found


def _watch(command: list[str], log: Path, progress: Progress) -> None:
    lines: list[str] = []
    with log.open("w", encoding="utf-8") as kept:
        for line in _output(command, lines):
            kept.write(line)
            if match := _STEP.search(line):
                progress.percent(int(match[1]), int(match[2]))
            elif match := _OURS.search(line):
                progress.stage(match[1].strip())


def _output(command: list[str], kept: list[str]) -> Iterator[str]:
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            kept[:] = [*kept[-_TAIL_LINES:], line]
            yield line
    if process.returncode != 0:
        sys.stderr.writelines(kept)
        raise NativeError(f"the build failed with exit code {process.returncode}")


def install(python: str, built: Path, progress: Progress) -> None:
    """Replace whatever llama-cpp-python is there; the second call adds dependencies that are missing."""
    progress.stage(f"installing {built.name}")
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    for options in (["--force-reinstall", "--no-deps"], []):
        done = subprocess.run([*pip, *options, str(built)], check=False)
        if done.returncode != 0:
            raise NativeError(f"pip could not install {built}: see its message above")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--python", default=sys.executable, help="interpreter of the environment")
    parser.add_argument("--wheel-only", action="store_true", help="print the wheel's path, install nothing")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    options = parser.parse_args()
    progress = Progress(quiet=options.quiet)
    try:
        if options.wheel_only:
            print(build(options.python, progress))
        elif installed_key(options.python) == identity.key():
            progress.stage(f"llama-cpp-python {pins.read().full_version} is up to date")
        else:
            install(options.python, build(options.python, progress), progress)
            progress.stage("done")
    except NativeError as error:
        sys.exit(f"native: {error}")


if __name__ == "__main__":
    main()
