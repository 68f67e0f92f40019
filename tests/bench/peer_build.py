"""The peer's program: `llama-server` of the llama.cpp that native/ patches, unpatched, built once per user.

    python tests/bench/peer_build.py [--jobs 2]        # 8 to 20 minutes on 2 cores; later calls take no time

The source distribution is the one native/ pins by hash and fetches; the program goes into the user's cache,
never into the repository. Release, OpenMP and the compiler's flags as for our own library; without web
interface and TLS, which would fetch or look for things this comparison does not need; linked statically.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "native" / "backend"))

from steerway_native import cache, fetch, identity, options, pins, tree
from steerway_native.errors import NativeError

DEFINES = {
    "CMAKE_BUILD_TYPE": "Release",
    "BUILD_SHARED_LIBS": "OFF",
    "GGML_NATIVE": "ON",
    "GGML_CCACHE": "OFF",
    "LLAMA_BUILD_COMMON": "ON",
    "LLAMA_BUILD_TOOLS": "ON",
    "LLAMA_BUILD_SERVER": "ON",
    "LLAMA_BUILD_TESTS": "OFF",
    "LLAMA_BUILD_EXAMPLES": "OFF",
    "LLAMA_BUILD_APP": "OFF",
    "LLAMA_BUILD_UI": "OFF",
    "LLAMA_USE_PREBUILT_UI": "OFF",
    "LLAMA_OPENSSL": "OFF",
    "LLAMA_BUILD_NUMBER": "0",
}


@functools.cache
def program(jobs: int | None = None) -> Path:
    """Path of the cached `llama-server`, built first when it is not there. SystemExit says what failed.

    Call it before STEERWAY_HOME is changed: it is looked for once.
    """
    target = cache.folder().parent / "peer" / _key() / "llama-server"
    if not target.is_file():
        with cache.lock(f"peer-{target.parent.name}"):
            if not target.is_file():
                _build(target, jobs=jobs or os.cpu_count() or 1)
    return target


def version() -> str:
    """What the results say was compared with."""
    base = pins.read()
    return f"llama-server of {base.name} {base.version}, unpatched"


def _key() -> str:
    """Everything that decides what the program is."""
    parts = [pins.read().sha256, _defines(), identity.compiler(), identity.processor()]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _defines() -> dict[str, str]:
    """What CMake is told: the flags that our own library is compiled with, and what the program needs."""
    version = pins.read().version
    flags = {name: value for name, value in options.defines(version).items() if name.endswith("_FLAGS")}
    return DEFINES | flags | {"LLAMA_BUILD_COMMIT": version}


def _build(target: Path, *, jobs: int) -> None:
    base = pins.read()
    try:
        archive = fetch.source(base)
    except NativeError as error:
        raise SystemExit(f"{error}; `python native/build.py` fetches and keeps it") from None
    print("building llama-server, once: 8 to 20 minutes on 2 cores", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(prefix="steerway-peer-") as work:
        source = tree.unpack(archive, Path(work), base) / "vendor" / "llama.cpp"
        build = Path(work) / "build"
        defines = [f"-D{name}={value}" for name, value in _defines().items()]
        cmake = _cmake(Path(work))
        _run([cmake, "-S", str(source), "-B", str(build), *defines])
        _run([cmake, "--build", str(build), "--target", "llama-server", "--parallel", str(jobs)])
        built = build / "bin" / "llama-server"
        built.chmod(0o755)
        cache.put_file(built, target)
    target.chmod(0o755)


def _cmake(work: Path) -> str:
    """The machine's cmake, or one from its wheel in an environment of its own."""
    if found := shutil.which("cmake"):
        return found
    _run([sys.executable, "-m", "venv", str(work / "tools")])
    _run([str(work / "tools" / "bin" / "python"), "-m", "pip", "install", "--quiet", "cmake>=3.21"])
    return str(work / "tools" / "bin" / "cmake")


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        tail = (done.stdout + done.stderr).strip().splitlines()[-15:]
        raise SystemExit("\n".join((*tail, f"`{' '.join(command[:3])} ...` failed")))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--jobs", type=int)
    print(program(jobs=parser.parse_args().jobs))


if __name__ == "__main__":
    main()
