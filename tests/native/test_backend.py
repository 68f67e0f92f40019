"""The build back end of native/, without compiling: source, patches, version, cache and its key."""

from __future__ import annotations

import io
import json
import re
import shutil
import sys
import tarfile
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
import steerway_native as backend
from steerway_native import cache, fetch, identity, options, patch, pins, tree, wheel
from steerway_native.errors import NativeError, PatchFailed, SourceMismatch, SourceUnavailable

CONTEXT = "one\ntwo\nthree\nfour\n"
BUILD_FILE = "add_library(llama)\n"
GOOD_PATCH = """Says why.

--- a/vendor/llama.cpp/src/llama-context.cpp
+++ b/vendor/llama.cpp/src/llama-context.cpp
@@ -1,1 +1,2 @@
 one
+one and a half
@@ -3,2 +4,1 @@
-three
 four
"""

HEADER = "vendor/llama.cpp/ggml/include/ggml.h"
TYPES = "        GGML_TYPE_COUNT   = 43,\nint other;\n"
HEADER_PATCH = """Says why.

--- a/HEADER
+++ b/HEADER
@@ -1,1 +1,1 @@
-        GGML_TYPE_COUNT   = 43,
+        GGML_TYPE_COUNT   = 242,
"""


def pack(path: Path, files: dict[str, str]) -> Path:
    with tarfile.open(path, "w:gz") as packed:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            packed.addfile(member, io.BytesIO(text.encode()))
    return path


@pytest.fixture
def base(tmp_path: Path) -> pins.Base:
    """A source distribution of six files, pinned by its hash."""
    base = pins.Base("llama-cpp-python", "0.3.36", "steerway.1", "")
    archive = pack(
        tmp_path / base.archive,
        {
            f"{base.folder}/llama_cpp/__init__.py": '__version__ = "0.3.36"\n',
            f"{base.folder}/vendor/llama.cpp/src/llama-context.cpp": CONTEXT,
            f"{base.folder}/vendor/llama.cpp/src/CMakeLists.txt": BUILD_FILE,
            f"{base.folder}/{tree.CPU}/ggml-cpu.cpp": CONTEXT,
            f"{base.folder}/{tree.GGML}/ggml.c": CONTEXT,
            f"{base.folder}/{HEADER}": TYPES,
        },
    )
    return replace(base, sha256=cache.sha256(archive))


@pytest.fixture
def native(tmp_path: Path, base: pins.Base, isolated_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A native/ folder around that base, with a cache of its own and the archive at hand."""
    folder = tmp_path / "native"
    for name in ("cpu", "ggml"):
        (folder / "src" / name).mkdir(parents=True)
    (folder / "patches").mkdir()
    (folder / "src" / "steerway.cpp").write_text("int ours;\n")
    (folder / "src" / "cpu" / "kernel.cpp").write_text("int our_kernel;\n")
    (folder / "src" / "ggml" / "types.c").write_text("int our_type;\n")
    (folder / "patches" / "0001-first.patch").write_text(GOOD_PATCH)
    table = "".join(f'{name} = "{getattr(base, name)}"\n' for name in ("name", "version", "local", "sha256"))
    (folder / "pyproject.toml").write_text(f"[tool.steerway-native]\n{table}")
    monkeypatch.setenv("STEERWAY_SDIST", str(tmp_path / base.archive))
    return folder


def prepare(native: Path, tmp_path: Path) -> Path:
    base = pins.read(native)
    return tree.prepare(fetch.source(base), tmp_path / "work", base, native=native, key="the-key")


def test_the_pinned_source_becomes_our_tree(native: Path, tmp_path: Path) -> None:
    source = prepare(native, tmp_path)
    patched = source / "vendor/llama.cpp/src/llama-context.cpp"
    assert patched.read_text() == "one\none and a half\ntwo\nfour\n"
    kept = source / tree.SOURCES / tree.STOCK / "llama-context.cpp"
    assert kept.read_text() == CONTEXT  # for the stock library
    assert (source / tree.SOURCES / "steerway.cpp").read_text() == "int ours;\n"
    assert (source / tree.CPU / tree.OWN / "kernel.cpp").read_text() == "int our_kernel;\n"
    assert (source / tree.GGML / tree.OWN / "types.c").read_text() == "int our_type;\n"
    assert '__version__ = "0.3.36+steerway.1"' in (source / "llama_cpp/__init__.py").read_text()
    assert '"0.3.36+steerway.1"' in (source / tree.SOURCES / "steerway-version.h").read_text()
    record = json.loads((source / "llama_cpp/steerway.json").read_text())
    assert (record["key"], record["patches"]) == ("the-key", ["0001-first.patch"])


def test_a_source_with_another_hash_is_never_used(native: Path, tmp_path: Path, base: pins.Base) -> None:
    pack(tmp_path / base.archive, {"evil/setup.py": "boom"})
    with pytest.raises(SourceMismatch, match=f"pinned to {base.sha256}"):
        fetch.source(base)
    assert not list(cache.folder().rglob("*.tar.gz"))


def test_a_damaged_cached_source_is_fetched_again(native: Path, base: pins.Base) -> None:
    cached = fetch.source(base)
    cached.write_bytes(b"cut short")
    assert cache.sha256(fetch.source(base)) == base.sha256


def test_a_source_that_cannot_be_had_says_what_to_do(
    native: Path, base: pins.Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STEERWAY_SDIST", "/nowhere/at-all.tar.gz")
    with pytest.raises(SourceUnavailable, match="not a file"):
        fetch.source(base)
    monkeypatch.delenv("STEERWAY_SDIST")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    with pytest.raises(SourceUnavailable, match="connect to a package index, or set STEERWAY_SDIST"):
        fetch.source(replace(base, name="llama-cpp-python-that-is-nowhere"))


@pytest.mark.parametrize("name", ["../outside.txt", "/tmp/absolute-outside.txt"])
def test_an_archive_cannot_write_outside_its_folder(tmp_path: Path, base: pins.Base, name: str) -> None:
    archive = pack(tmp_path / "odd.tar.gz", {name: "boom"})
    with pytest.raises(SourceMismatch, match=r"cannot be unpacked|does not hold"):
        tree.unpack(archive, tmp_path / "deep" / "folder", base)
    assert not (tmp_path / "deep" / "outside.txt").exists()
    assert not Path("/tmp/absolute-outside.txt").exists()


def test_a_file_that_is_no_archive_is_refused(tmp_path: Path, base: pins.Base) -> None:
    (tmp_path / "odd.tar.gz").write_bytes(b"no archive")
    with pytest.raises(SourceMismatch, match="cannot be unpacked"):
        tree.unpack(tmp_path / "odd.tar.gz", tmp_path, base)


def test_a_hunk_that_does_not_fit_is_named(native: Path, tmp_path: Path) -> None:
    (native / "patches" / "0002-second.patch").write_text(GOOD_PATCH.replace("-three", "-drei"))
    (native / "patches" / "0001-first.patch").unlink()
    with pytest.raises(PatchFailed) as failed:
        prepare(native, tmp_path)
    assert str(failed.value) == (
        "0002-second.patch: hunk 2 does not fit vendor/llama.cpp/src/llama-context.cpp, line 3: "
        "expected 'drei', found 'three'"
    )
    patched = tmp_path / "work" / "llama_cpp_python-0.3.36" / "vendor/llama.cpp/src/llama-context.cpp"
    assert patched.read_text() == CONTEXT  # the first hunk, which fits, was not applied either


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (GOOD_PATCH.replace("llama-context", "gone"), "hunk 1: .*/gone.cpp is not in the source tree"),
        (GOOD_PATCH.replace("b/vendor", "b/../vendor"), "outside the source tree"),
        (GOOD_PATCH.replace("b/vendor", "/vendor"), "outside the source tree"),
        (GOOD_PATCH.replace("@@ -3,2 +4,1 @@", "@@ -9,2 +10,1 @@"), "hunk 2 .* line 9: .* end of the file"),
        (GOOD_PATCH.replace(" four\n", ""), "hunk 2 ends too early"),
        ("@@ -1,1 +1,1 @@\n-a\n+b\n", "a hunk without a file"),
        ("nothing\n", "no hunk in it"),
    ],
)  # fmt: skip
def test_a_bad_patch_is_named(native: Path, tmp_path: Path, text: str, said: str) -> None:
    (native / "patches" / "0001-first.patch").write_text(text)
    with pytest.raises(PatchFailed, match=rf"^0001-first\.patch: .*{said}"):
        prepare(native, tmp_path)


@pytest.mark.parametrize("name", [f"{tree.CPU}/ggml-cpu.cpp", f"{tree.GGML}/ggml.c"])
def test_ggml_and_its_cpu_back_end_may_be_patched_too(native: Path, tmp_path: Path, name: str) -> None:
    text = GOOD_PATCH.replace("vendor/llama.cpp/src/llama-context.cpp", name)
    (native / "patches" / "0002-second.patch").write_text(text)
    source = prepare(native, tmp_path)
    assert (source / name).read_text() == "one\none and a half\ntwo\nfour\n"
    assert (source / name).parent.joinpath(tree.STOCK, Path(name).name).read_text() == CONTEXT


@pytest.mark.parametrize(
    "name",
    [
        "vendor/llama.cpp/src/llama-context.h",
        "vendor/llama.cpp/ggml/include/ggml.h",
        "vendor/llama.cpp/ggml/src/ggml-blas/ggml-blas.cpp",
    ],
)
def test_patches_leave_headers_and_other_libraries_alone(native: Path, tmp_path: Path, name: str) -> None:
    """Else the stock library of the bit-identity test could not share the other object files."""
    text = GOOD_PATCH.replace("vendor/llama.cpp/src/llama-context.cpp", name)
    (native / "patches" / "0001-first.patch").write_text(text)
    with pytest.raises(NativeError, match=name):
        prepare(native, tmp_path)


def test_a_patch_may_add_a_type_to_the_one_header(native: Path, tmp_path: Path) -> None:
    """And nothing else: a value more changes no object that does not ask for the number of values."""
    text = HEADER_PATCH.replace("HEADER", HEADER)
    (native / "patches" / "0002-type.patch").write_text(text)
    assert (prepare(native, tmp_path) / HEADER).read_text() == TYPES.replace("43", "242")
    shutil.rmtree(tmp_path / "work")
    more = text.replace("-1,1 +1,1", "-1,2 +1,2") + " int other;\n"
    (native / "patches" / "0002-type.patch").write_text(more)
    with pytest.raises(NativeError, match="changes the header"):
        prepare(native, tmp_path)


def test_our_files_never_replace_llama_cpps(native: Path, tmp_path: Path) -> None:
    (native / "src" / "llama-context.cpp").write_text("ours\n")
    with pytest.raises(NativeError, match="rename it"):
        prepare(native, tmp_path)


def test_a_cached_wheel_is_handed_out_without_building(native: Path, tmp_path: Path) -> None:
    made = put_wheel(native)
    (tmp_path / "out").mkdir()
    assert wheel.get(native) == made
    assert wheel.metadata(tmp_path / "out", native) == "llama_cpp_python-0.3.36+steerway.1.dist-info"
    assert (tmp_path / "out" / "llama_cpp_python-0.3.36+steerway.1.dist-info" / "METADATA").is_file()


def put_wheel(native: Path) -> Path:
    entry = wheel.entry(identity.key(native))
    entry.mkdir(parents=True)
    path = entry / "llama_cpp_python-0.3.36+steerway.1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("llama_cpp_python-0.3.36+steerway.1.dist-info/METADATA", "Name: llama-cpp-python\n")
    return path


def test_two_builds_at_once_compile_once(native: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built = []

    def compile_(key: str, native: Path) -> Path:
        built.append(key)
        time.sleep(0.2)  # long enough for the other to arrive
        return put_wheel(native)

    monkeypatch.setattr(wheel, "_build", compile_)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(wheel.get, [native, native])
    assert first == second
    assert len(built) == 1


def test_a_damaged_cached_wheel_is_dropped(native: Path) -> None:
    made = put_wheel(native)
    made.write_bytes(made.read_bytes()[:40])
    assert wheel.cached(identity.key(native)) is None
    assert not made.exists()


def test_cmake_and_ninja_are_asked_for_only_when_building(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wheel, "cached", lambda key: None)
    assert backend.get_requires_for_build_wheel() == ["cmake>=3.21", "ninja>=1.10"]
    monkeypatch.setattr(wheel, "cached", lambda key: Path("it.whl"))
    assert backend.get_requires_for_build_wheel() == []


def test_a_failure_is_one_line_and_no_traceback(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fail() -> Path:
        raise PatchFailed("0001-first.patch: hunk 1 does not fit")

    monkeypatch.setattr(wheel, "get", fail)
    with pytest.raises(SystemExit) as ended:
        backend.build_wheel(str(tmp_path))
    assert ended.value.code == "steerway-native: 0001-first.patch: hunk 1 does not fit"


def test_the_key_changes_with_what_is_built(native: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDACXX", sys.executable)  # stands for nvcc, which need not be here
    keys = [identity.key(native)]
    assert identity.key(native) == keys[0]

    def changed() -> None:
        assert identity.key(native) not in keys
        keys.append(identity.key(native))

    (native / "patches" / "0001-first.patch").write_text(GOOD_PATCH + "\n")
    changed()
    (native / "patches" / "0002-more.patch").write_text(GOOD_PATCH)
    changed()
    (native / "src" / "steerway.cpp").write_text("int other;\n")
    changed()
    for name, value in {
        "STEERWAY_CUDA": "1", "STEERWAY_CUDA_ARCHITECTURES": "90", "STEERWAY_PORTABLE": "1",
        "STEERWAY_CMAKE_ARGS": "-DGGML_OPENMP=OFF", "CXXFLAGS": "-O1",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
        changed()
    monkeypatch.setattr(identity, "processor", lambda: "another one")
    changed()


@pytest.mark.parametrize(
    ("variable", "hint"), [("CXX", "install one .* or set CXX"), ("CUDACXX", "unset STEERWAY_CUDA")]
)
def test_a_missing_compiler_is_named(monkeypatch: pytest.MonkeyPatch, variable: str, hint: str) -> None:
    monkeypatch.setenv("STEERWAY_CUDA", "1")
    monkeypatch.setenv(variable, "no-such-compiler")
    with pytest.raises(SystemExit, match=f"'no-such-compiler' is not on this machine: .*{hint}"):
        backend.get_requires_for_build_wheel()


def test_the_environment_chooses_options() -> None:
    stock = options.defines("1", {})
    assert (stock["LLAVA_BUILD"], "GGML_CUDA" in stock, "GGML_NATIVE" in stock) == ("OFF", False, False)
    chosen = options.defines(
        "1",
        {
            "STEERWAY_CUDA": "1", "STEERWAY_CUDA_ARCHITECTURES": "80;90", "STEERWAY_PORTABLE": "1",
            "STEERWAY_CMAKE_ARGS": "-DGGML_OPENMP=OFF -DA:BOOL='x y'",
        },
    )  # fmt: skip
    assert (chosen["GGML_CUDA"], chosen["CMAKE_CUDA_ARCHITECTURES"]) == ("ON", "80;90")
    assert (chosen["GGML_NATIVE"], chosen["GGML_OPENMP"], chosen["A"]) == ("OFF", "OFF", "x y")


def test_the_cache_folder_is_the_engines(isolated_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from engine.settings import folders

    assert cache.folder() == folders().cache / "native"
    monkeypatch.delenv("STEERWAY_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(isolated_home))
    if sys.platform != "darwin":
        assert cache.folder() == isolated_home / "steerway" / "native"


def test_the_first_of_two_builds_stays(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "it.whl").write_text(name)
        cache.put_folder(tmp_path / name, tmp_path / "cache" / "key")
    assert (tmp_path / "cache" / "key" / "it.whl").read_text() == "first"
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["key"]


def test_the_libraries_do_not_name_the_folder_they_were_built_in() -> None:
    """Else two builds of the same sources would differ."""
    spec = find_spec("llama_cpp")
    assert spec is not None
    assert spec.origin is not None
    libraries = list((Path(spec.origin).parent / "lib").glob("*llama.*"))
    assert libraries
    for library in libraries:
        assert b"/steerway-native-" not in library.read_bytes(), library.name


def test_every_patch_is_a_document() -> None:
    for path in sorted((pins.NATIVE / "patches").glob("*.patch")):
        text = path.read_text().split("\n--- ")[0]
        for part in ("Base:", "Reason:", "Touches:", "Off:", "Test:", "Effect:"):
            assert part in text, f"{path.name} does not say {part}"
        assert pins.read().version in text
        assert patch.files(path)


def test_the_documentation_names_every_patch_and_variable() -> None:
    text = (pins.NATIVE.parent / "docs" / "native.md").read_text()
    code = "".join(path.read_text() for path in (pins.NATIVE / "backend").rglob("*.py"))
    wanted = set(re.findall(r'"(STEERWAY_[A-Z_]+)"', code))
    wanted |= {path.stem.replace("-", " ", 1) for path in (pins.NATIVE / "patches").iterdir()}
    assert {name for name in wanted if name not in text} == set()


def test_the_source_archive_builds_from_itself(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / backend.build_sdist(str(tmp_path))) as packed:
        names = {name.partition("/")[2] for name in packed.getnames()}
    assert {"PKG-INFO", "pyproject.toml", "backend/steerway_native/__init__.py"} <= names
    assert {f"src/{path.name}" for path in (pins.NATIVE / "src").iterdir()} <= names
