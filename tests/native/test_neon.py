"""The NEON kernels, compiled for AArch64 and run under QEMU: right, and with the bits of this machine's own.

Needs a cross compiler and QEMU's user mode (Debian: apt install g++-aarch64-linux-gnu qemu-user).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tarfile
from importlib.util import find_spec
from pathlib import Path

import pytest
from steerway_native import cache, fetch, pins, tree

SOURCES = pins.NATIVE / "src"
TESTS = pins.NATIVE / "tests"
TOOLS = ("aarch64-linux-gnu-gcc", "aarch64-linux-gnu-g++", "qemu-aarch64")
SYSROOT = "/usr/aarch64-linux-gnu"

# -march, and a processor that has this and no more
TARGETS = {"dotprod": ("armv8.2-a+dotprod", "cortex-a76"), "plain": ("armv8-a", "cortex-a53")}
STRICT = ("-Wall", "-Wextra", "-Wno-unused-function", "-Werror")


@pytest.fixture(scope="module", autouse=True)
def cross_tools() -> None:
    if missing := [tool for tool in TOOLS if shutil.which(tool) is None]:
        pytest.skip(f"{', '.join(missing)} missing (Debian: g++-aarch64-linux-gnu, qemu-user)")


def call(*command: str | Path) -> str:
    """Standard output; a failure of the command is the test's."""
    done = subprocess.run(
        [*map(str, command)], capture_output=True, text=True, check=False,
        env=os.environ | {"OMP_WAIT_POLICY": "passive"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


def emulated(program: Path, target: str) -> str:
    return call("qemu-aarch64", "-cpu", TARGETS[target][1], "-L", SYSROOT, program)


@pytest.fixture(scope="module")
def headers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ggml's headers of the pinned source distribution, with ours beside them."""
    base = pins.read()
    archive = cache.folder() / "sources" / base.sha256 / base.archive
    if not archive.is_file():
        pytest.skip(f"{base.archive} is not in the cache (python native/build.py puts it there)")
    folder = tmp_path_factory.mktemp("headers")
    wanted = re.compile(rf"{re.escape(base.folder)}/{tree.GGML.parent}/(include|src|src/ggml-cpu)/[^/]+\.h")
    with tarfile.open(archive, "r:gz") as packed:
        found = [member for member in packed if wanted.fullmatch(member.name)]
        packed.extractall(folder, found, filter="data")
    ggml = folder / base.folder / tree.GGML
    shutil.copytree(SOURCES / "ggml", ggml / tree.OWN)
    return ggml


def kernels(headers: Path, folder: Path, march: str, prefix: str = "") -> Path:
    """native/tests/neon/kernels.cpp as a program."""
    include = [
        f"-I{path}" for path in (headers.parent / "include", headers, headers / "ggml-cpu", SOURCES / "cpu")
    ]
    common = [*STRICT, "-O1", f"-march={march}", "-D_GNU_SOURCE", *include]
    rows, program = folder / "rows.o", folder / "kernels"
    call(f"{prefix}gcc", "-std=c11", *common, "-c", SOURCES / "cpu" / "steerway-cpu-types.c", "-o", rows)
    call(f"{prefix}g++", "-std=c++17", *common, TESTS / "neon" / "kernels.cpp", rows, "-o", program)
    return program


@pytest.mark.parametrize("target", ["dotprod", pytest.param("plain", marks=pytest.mark.slow)])
def test_neon_gives_the_bits_of_portable_code_and_of_this_machine(
    target: str, headers: Path, tmp_path: Path
) -> None:
    march, _ = TARGETS[target]
    (tmp_path / "here").mkdir()
    results = emulated(kernels(headers, tmp_path, march, "aarch64-linux-gnu-"), target)
    assert results.endswith("0 failed\n")
    assert len(results.splitlines()) == 2 * 4 * 7 + 1  # types, widths, numbers of rows
    if _has_kernels_here():
        assert call(kernels(headers, tmp_path / "here", "native")) == results


def _has_kernels_here() -> bool:
    macros = call("gcc", "-march=native", "-dM", "-E", "-x", "c", os.devnull).split()
    return {"__AVX2__", "__FMA__", "__F16C__"} <= set(macros) or "__ARM_NEON" in macros


def test_a_processor_without_dot_products_refuses_them(headers: Path, tmp_path: Path) -> None:
    """So the emulated processors are what they are named after: plain code is not tested on a better one."""
    program = tmp_path / "dot"
    source = tmp_path / "dot.c"
    source.write_text(
        "#include <arm_neon.h>\n"
        "int main(int n, char ** s) { (void) s; int8x16_t x = vdupq_n_s8(n);\n"
        "return vaddvq_s32(vdotq_s32(vdupq_n_s32(0), x, x)) != 16; }\n"
    )
    call("aarch64-linux-gnu-gcc", "-O1", f"-march={TARGETS['dotprod'][0]}", source, "-o", program)
    emulated(program, "dotprod")
    command = ["qemu-aarch64", "-cpu", TARGETS["plain"][1], "-L", SYSROOT, str(program)]
    assert subprocess.run(command, capture_output=True, check=False).returncode != 0


@pytest.fixture(scope="module")
def whole_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """llama.cpp as it is built, patched and with our files."""
    base = pins.read()
    work = tmp_path_factory.mktemp("tree")
    ready = tree.prepare(fetch.source(base), work, base, native=pins.NATIVE, key="test")
    return ready / "vendor" / "llama.cpp"


def ggml_libraries(source: Path, build: Path, march: str) -> Path:
    """ggml's base library and CPU back end for AArch64, without llama.cpp on top. The folder they are in."""
    off = ("COMMON", "TOOLS", "EXAMPLES", "TESTS", "SERVER")
    call(
        "cmake", "-G", "Ninja", "-S", source, "-B", build, "-DCMAKE_BUILD_TYPE=Release",
        "-DCMAKE_SYSTEM_NAME=Linux", "-DCMAKE_SYSTEM_PROCESSOR=aarch64",
        "-DCMAKE_C_COMPILER=aarch64-linux-gnu-gcc", "-DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++",
        "-DGGML_NATIVE=OFF", f"-DGGML_CPU_ARM_ARCH={march}", "-DGGML_CCACHE=OFF", "-DBUILD_SHARED_LIBS=ON",
        "-DLLAMA_BUILD_NUMBER=0", "-DLLAMA_BUILD_COMMIT=test", *(f"-DLLAMA_BUILD_{part}=OFF" for part in off),
    )  # fmt: skip
    call("nice", "cmake", "--build", build, "--target", "ggml")
    return build / "bin"


def cross_compiled(name: str, source: Path, libraries: Path) -> Path:
    """A test of native/tests that uses no libllama but our switches of the kernels."""
    program = libraries / Path(name).stem
    include = (f"-I{source / 'ggml/include'}", f"-I{source / 'include'}", f"-I{source / 'src'}")
    call(
        "aarch64-linux-gnu-g++", "-std=c++17", "-Wall", "-Wextra", "-Werror", "-O1", *include,
        TESTS / name, source / "src" / "steerway-kernels.cpp", "-o", program, f"-L{libraries}",
        "-lggml", "-lggml-cpu", "-lggml-base", "-ldl", f"-Wl,-rpath,{libraries}",
    )  # fmt: skip
    return program


@pytest.mark.slow  # two builds of ggml, 3 minutes of processor time each
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("target", list(TARGETS))
def test_ggml_for_aarch64_computes_with_our_kernels(target: str, whole_tree: Path, tmp_path: Path) -> None:
    march, _ = TARGETS[target]
    libraries = ggml_libraries(whole_tree, tmp_path / "build", march)
    for name in ("test_types.cpp", "test_packed.cpp"):
        assert emulated(cross_compiled(name, whole_tree, libraries), target) == "0 failed\n", name
    digests = emulated(cross_compiled("neon/digest.cpp", whole_tree, libraries), target).splitlines()
    assert digests[0] == "kernels: matmul packed"
    assert digests[1:] == digests_here(tmp_path / "here")[1:]


def digests_here(program: Path) -> list[str]:
    """The same by the installed library, with what this machine has."""
    spec = find_spec("llama_cpp")
    assert spec is not None
    assert spec.origin is not None
    package = Path(spec.origin).parent
    call(
        os.environ.get("CXX", "c++"), "-std=c++17", "-O1", f"-I{package / 'include'}",
        TESTS / "neon" / "digest.cpp", "-o", program, f"-L{package / 'lib'}",
        "-lllama", "-lggml", "-lggml-base", f"-Wl,-rpath,{package / 'lib'}",
    )  # fmt: skip
    return call(program).splitlines()
