"""The C++ tests of native/tests, compiled against the headers and libraries of the installed wheel."""

from __future__ import annotations

import os
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest
from steerway_native import pins


@pytest.fixture(scope="module")
def package() -> Path:
    spec = find_spec("llama_cpp")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


def compile_with(compiler: str, *arguments: str | Path) -> None:
    program = shutil.which(compiler)
    assert program, f"{compiler} is missing: a C++ compiler is a prerequisite (Debian: apt install g++)"
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.model
@pytest.mark.parametrize("source", sorted(path.name for path in (pins.NATIVE / "tests").glob("*.cpp")))
def test_cpp(source: str, package: Path, tmp_path: Path, small_model: Path) -> None:
    program = tmp_path / source.removesuffix(".cpp")
    include, libraries = package / "include", package / "lib"
    compile_with(
        os.environ.get("CXX", "c++"), "-std=c++17", "-Wall", "-Wextra", "-Werror", "-O1", f"-I{include}",
        pins.NATIVE / "tests" / source, "-o", program, f"-L{libraries}", "-lllama", "-lggml", "-lggml-base",
        f"-Wl,-rpath,{libraries}",
    )  # fmt: skip
    done = subprocess.run(
        [program, small_model], capture_output=True, text=True, check=False,
        env=os.environ | {"OMP_WAIT_POLICY": "passive"},
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "0 failed\n"), done.stderr


def test_the_header_is_c(package: Path, tmp_path: Path) -> None:
    source = tmp_path / "it.c"
    source.write_text(
        '#include "steerway.h"\nint main(void) { return steerway_api_version() - STEERWAY_API_VERSION; }\n'
    )
    compiler = os.environ.get("CC", "cc")
    compile_with(
        compiler, "-std=c11", "-Wall", "-Werror", "-fsyntax-only", f"-I{package / 'include'}", source
    )
