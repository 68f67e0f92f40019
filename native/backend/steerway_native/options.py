"""What to build: CMake options, from the environment where a person may choose."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping

# llama.cpp's server, tools, examples, tests and multimodal library are not loaded by anything here.
_OFF = ("LLAVA_BUILD", "LLAMA_BUILD_TOOLS", "LLAMA_BUILD_EXAMPLES", "LLAMA_BUILD_TESTS", "LLAMA_BUILD_SERVER")


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
    return found | _more(environment.get("STEERWAY_CMAKE_ARGS", ""))


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
