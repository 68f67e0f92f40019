"""What to build: CMake options, from the environment where a person may choose."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
from collections.abc import Mapping
from functools import cache

# llama.cpp's server, tools, examples, tests and multimodal library are not loaded by anything here.
_OFF = ("LLAVA_BUILD", "LLAMA_BUILD_TOOLS", "LLAMA_BUILD_EXAMPLES", "LLAMA_BUILD_TESTS", "LLAMA_BUILD_SERVER")

# What -march=native must not switch on.
# AMX: GCC before 14.1 drops the stores of the tile configuration (its PR 114098), and the first tile
# instruction ends the process. AVX512-FP16: ggml then works in steps of 128 halves and does the rest one by
# one, which for heads of 64 is everything: attention took four times as long.
_WITHOUT = ("-mno-amx-tile", "-mno-amx-int8", "-mno-amx-bf16", "-mno-avx512fp16")


def defines(version: str, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """CMake definitions.

    STEERWAY_CUDA=1 builds for NVIDIA GPUs, STEERWAY_CUDA_ARCHITECTURES names which ("90", "80;90", "native"),
    STEERWAY_PORTABLE=1 does without -march=native, STEERWAY_CMAKE_ARGS adds definitions (`-DNAME=VALUE ...`).
    """
    found = dict.fromkeys((*_OFF, "LLAMA_OPENSSL", "GGML_CCACHE"), "OFF")
    found |= {
        # one file a library: symlinks do not survive a wheel, copies would be loaded twice
        "CMAKE_PLATFORM_NO_VERSIONED_SONAME": "ON",
        "CMAKE_INSTALL_LIBDIR": "llama_cpp/lib",
        "CMAKE_INSTALL_BINDIR": "llama_cpp/lib",
        "CMAKE_INSTALL_INCLUDEDIR": "llama_cpp/include",
        # else taken from whatever git repository surrounds the build folder
        "LLAMA_BUILD_NUMBER": "0",
        "LLAMA_BUILD_COMMIT": version,
    }
    if environment.get("STEERWAY_CUDA") == "1":
        found |= {"GGML_CUDA": "ON"}
        if architectures := environment.get("STEERWAY_CUDA_ARCHITECTURES"):
            found["CMAKE_CUDA_ARCHITECTURES"] = architectures
    if environment.get("STEERWAY_PORTABLE") == "1":
        found["GGML_NATIVE"] = "OFF"
    else:
        found |= _flags(environment)
    return found | _more(environment.get("STEERWAY_CMAKE_ARGS", ""))


def _flags(environment: Mapping[str, str]) -> dict[str, str]:
    """Compiler flags behind the environment's own, which a definition would otherwise replace."""
    found = {}
    for language, variable, compiler in (("C", "CC", "cc"), ("CXX", "CXX", "c++")):
        command = environment.get(variable, compiler)
        known = [flag for flag in _WITHOUT if _accepts(command, flag)]
        if known:
            own = environment.get(f"{language}FLAGS", "")
            found[f"CMAKE_{language}_FLAGS"] = " ".join((own, *known)).strip()
    return found


@cache
def _accepts(command: str, flag: str) -> bool:
    """Whether a compiler for x86 knows the flag."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    try:
        probe = [*shlex.split(command), "-Werror", flag, "-E", "-x", "c", os.devnull]
        return subprocess.run(probe, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _more(arguments: str) -> dict[str, str]:
    pairs = (
        word.removeprefix("-D").partition("=") for word in shlex.split(arguments) if word.startswith("-D")
    )
    return {name.partition(":")[0]: value for name, _, value in pairs}


def config_settings(version: str) -> dict[str, list[str] | str]:
    """The same for scikit-build-core."""
    settings: dict[str, list[str] | str] = {
        f"cmake.define.{name}": value for name, value in defines(version).items()
    }
    settings["wheel.exclude"] = ";".join(("llama_cpp/lib/cmake/**", "llama_cpp/lib/pkgconfig/**"))
    return settings
