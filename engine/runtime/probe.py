"""What the native library says of itself, asked in a child process: `python -m engine.runtime.probe`.

A library built for another CPU ends its process with SIGILL; `steerway doctor` must outlive that.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass

TIMEOUT_SECONDS = 60


@dataclass(frozen=True)
class Library:
    """The native library: its version, our features in it, its CPU flags, and whether a GPU can be used.

    `build` tells it apart from other builds (engine/runtime/build.py). `problem` is empty when it loads;
    otherwise the rest is, too.
    """

    version: str = ""
    features: tuple[str, ...] = ()
    system: str = ""
    gpu: bool = False
    build: str = ""
    problem: str = ""


def probe() -> Library:
    """Load the library in a child process and report. Never raises."""
    try:
        child = subprocess.run(
            [sys.executable, "-P", "-m", "engine.runtime.probe"],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Library(problem=str(error))
    if child.returncode < 0:
        return Library(problem=f"it was ended by signal {-child.returncode} while loading")
    try:
        facts = json.loads(child.stdout.splitlines()[-1])
        return Library(**{**facts, "features": tuple(facts["features"])})
    except (ValueError, IndexError, TypeError, KeyError):
        lines = child.stderr.strip().splitlines()
        return Library(problem=lines[-1][:200] if lines else f"it ended with code {child.returncode}")


def _facts() -> dict[str, object]:
    import llama_cpp

    return {
        "version": llama_cpp.__version__,
        "features": _features(),
        "system": llama_cpp.llama_print_system_info().decode(errors="replace"),
        "gpu": bool(llama_cpp.llama_supports_gpu_offload()),
        "build": _build(),
    }


def _build() -> str:
    try:
        from engine.runtime import build

        return build.identity()
    except Exception:  # a library too strange for ours is still described
        return ""


def _features() -> list[str]:
    try:
        from engine.runtime import extension

        return list(extension.features())
    except (ImportError, OSError, AttributeError):
        return []


if __name__ == "__main__":
    print(json.dumps(_facts()), flush=True)
    os._exit(0)  # no teardown of a library that only had to load
