"""The key of a wheel: everything that decides what it contains."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from . import options, pins
from .errors import CompilerMissing

# Modules of this back end that shape the wheel; the others only carry it about.
_RECIPE = ("options.py", "tree.py", "wheel.py")
_COMPILER_VARIABLES = ("CC", "CXX", "CFLAGS", "CXXFLAGS", "LDFLAGS", "CMAKE_ARGS", "CUDACXX", "CUDAFLAGS")


def key(native: Path = pins.NATIVE) -> str:
    """32 hexadecimal digits. Without Python's version: the wheel holds no extension module (py3-none)."""
    text = json.dumps(parts(native), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def parts(native: Path = pins.NATIVE) -> dict[str, object]:
    base = pins.read(native)
    return {
        "base": [base.name, base.full_version, base.sha256],
        "sources": _digests(native, "src"),
        "patches": _digests(native, "patches"),
        "recipe": [_digest(Path(__file__).with_name(name)) for name in _RECIPE],
        "options": options.defines(base.full_version),
        "compiler": compiler(),
        "platform": [sys.platform, platform.machine(), *platform.libc_ver()],
        "processor": processor(),
    }


def _digests(native: Path, folder: str) -> dict[str, str]:
    files = sorted(path for path in (native / folder).rglob("*") if path.is_file())
    return {path.relative_to(native / folder).as_posix(): _digest(path) for path in files}


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def compiler() -> list[str]:
    """Environment that steers the compilers, and their versions. Raises CompilerMissing."""
    found = [f"{name}={os.environ[name]}" for name in _COMPILER_VARIABLES if name in os.environ]
    found.append(_version(os.environ.get("CXX", "c++"), "install one (Debian: apt install g++), or set CXX"))
    if os.environ.get("STEERWAY_CUDA") == "1":
        nvcc = os.environ.get("CUDACXX", "nvcc")
        found.append(_version(nvcc, "install the CUDA toolkit with cuBLAS, or unset STEERWAY_CUDA"))
    return found


def _version(command: str, hint: str) -> str:
    program = shutil.which((shlex.split(command) or [""])[0])
    if program is None:
        raise CompilerMissing(f"the compiler {command!r} is not on this machine: {hint}")
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    return " ".join(done.stdout.split())


def processor() -> str:
    """What -march=native looks at; "" with STEERWAY_PORTABLE=1, which does without."""
    if os.environ.get("STEERWAY_PORTABLE") == "1":
        return ""
    if sys.platform == "darwin":
        done = subprocess.run(
            ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"],
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout.strip()
    return _cpuinfo()


def _cpuinfo() -> str:
    names = ("vendor_id", "cpu family", "model", "flags", "Features", "CPU part")
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0].splitlines()
    except OSError:
        return platform.processor()
    fields = (line.partition(":") for line in lines)
    return ";".join(f"{name.strip()}={value.strip()}" for name, _, value in fields if name.strip() in names)
