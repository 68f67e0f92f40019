"""With every switch off, the patched library computes the stock library's logits, bit for bit.

Logits depend on the processor and the compiler, so no recorded hash travels. Two libraries made on this
machine are compared instead: the installed one, and a stock libllama that the same build linked from the
unpatched sources of the files the patches touch and from the very object files of all others
(native/src/steerway.cmake). The `slow` test compares with a wheel of the untouched source distribution.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from importlib.util import find_spec
from pathlib import Path

import build
import pytest
from steerway_native import fetch, identity, patch, pins, tree, wheel
from steerway_native import options as native_options

from engine.runtime import extension

pytestmark = pytest.mark.model

SCENARIOS = Path(__file__).with_name("lowlevel.py")


def logits(libraries: Path, model: Path, *switches: str) -> dict[str, str]:
    """Hashes of the scenarios' logits, computed by the libllama in a folder, in a process of its own."""
    done = subprocess.run(
        [sys.executable, SCENARIOS, model, *switches], capture_output=True, text=True, check=False,
        env=os.environ | {"LLAMA_CPP_LIB_PATH": str(libraries)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def installed() -> Path:
    spec = find_spec("llama_cpp")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


@pytest.fixture(scope="module")
def stock(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the stock libllama, ggml-base and CPU back end, and the installed rest of ggml."""
    key = json.loads((installed / "steerway.json").read_text())["key"]
    if not (wheel.entry(key) / "stock").is_dir():  # another cache folder: build once more (minutes)
        build.build(sys.executable, build.Progress(quiet=True))
        key = identity.key()
    folder = tmp_path_factory.mktemp("stock")
    for source in [*(installed / "lib").glob("*ggml*"), *(wheel.entry(key) / "stock").iterdir()]:
        shutil.copy(source, folder)
    return folder


@pytest.fixture(scope="module")
def patched_logits(installed: Path, small_model: Path) -> dict[str, str]:
    return logits(installed / "lib", small_model)


def test_off_is_stock(patched_logits: dict[str, str], stock: Path, small_model: Path) -> None:
    reference = logits(stock, small_model)
    assert len(reference) == 35
    assert len(set(reference.values())) > 20  # the scenarios do differ from one another
    assert patched_logits == reference


def test_on_without_use_is_stock_too(
    patched_logits: dict[str, str], installed: Path, small_model: Path
) -> None:
    """Loose positions with positions in order, no bias, no rows moved, no heads given."""
    switches = (extension.LOOSE_POSITIONS, extension.MASK_BIAS, extension.KV_ROWS, extension.HEADS)
    assert logits(installed / "lib", small_model, *switches) == patched_logits


def test_the_reference_is_without_our_code(stock: Path, installed: Path) -> None:
    """And ours is with it: else the comparison would prove nothing."""
    assert our_code(installed / "lib") == {"llama", "cpu", "base"}
    assert our_code(stock) == set()


def our_code(folder: Path) -> set[str]:
    marks = {
        "llama": b"steerway_kv_shift_range",
        "cpu": b"steerway_cpu_set",
        "base": b"steerway_validate_s24_0",
    }
    libraries = {name: next(folder.glob(f"lib*{name}.*")).read_bytes() for name in marks}
    return {name for name, mark in marks.items() if mark in libraries[name]}


def test_patches_touch_no_arithmetic_and_one_header() -> None:
    """What makes sharing object files sound: ten files are compiled from a changed source.

    Why the header may change, and that its enumeration of types is all that does: `tree._HEADER`.
    """
    hunks = [hunk for path in (pins.NATIVE / "patches").glob("*.patch") for hunk in patch.parse(path)]
    code = {hunk.file for hunk in hunks if Path(hunk.file).suffix in (".c", ".cpp", ".h", ".hpp")}
    changed = {
        tree.SOURCES: ("llama-batch.cpp", "llama-context.cpp", "llama-graph.cpp", "llama-kv-cache.cpp"),
        tree.GGML: ("ggml.c", "ggml-quants.c", "gguf.cpp"),
        tree.CPU: ("ggml-cpu.c", "ggml-cpu.cpp", "ops.cpp"),
    }
    sources = {f"{folder}/{name}" for folder, names in changed.items() for name in names}
    assert code == {*sources, "vendor/llama.cpp/ggml/include/ggml.h"}
    for hunk in hunks:
        if hunk.file == f"{tree.CPU}/ops.cpp":  # two cases more in lists of types
            assert [line.split()[0] for line in (*hunk.old, *hunk.new)] == ["case"] * 4


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_off_is_a_wheel_of_the_untouched_distribution(
    patched_logits: dict[str, str], small_model: Path, tmp_path: Path
) -> None:
    archive = fetch.source(pins.read())
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    options = "-DLLAVA_BUILD=OFF -DLLAMA_BUILD_TOOLS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_TESTS=OFF"
    command = [
        python,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-cache-dir",
        "-w",
        tmp_path,
        archive,
    ]
    flags = native_options.defines("0")  # of the processor's instructions: the same ones
    of_compiler = {"CFLAGS": flags.get("CMAKE_C_FLAGS", ""), "CXXFLAGS": flags.get("CMAKE_CXX_FLAGS", "")}
    subprocess.run(command, check=True, env=os.environ | of_compiler | {"CMAKE_ARGS": options})
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as packed:
        packed.extractall(tmp_path / "stock")
    assert logits(tmp_path / "stock" / "llama_cpp" / "lib", small_model) == patched_logits
