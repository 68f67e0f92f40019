"""The source tree: unpacked, with our files, patched, with our version."""

from __future__ import annotations

import json
import shutil
import tarfile
from pathlib import Path

from . import patch
from .errors import NativeError, SourceMismatch
from .pins import Base

SOURCES = Path("vendor/llama.cpp/src")  # of libllama, in the tree
GGML = Path("vendor/llama.cpp/ggml/src")  # of ggml's base library
CPU = GGML / "ggml-cpu"  # of its CPU back end
CUDA = GGML / "ggml-cuda"
OWN = "steerway"  # folder of ours inside ggml's
STOCK = "steerway-stock"  # folder of unpatched copies of patched sources, see src/steerway.cmake
_FOLDERS = {
    ".": SOURCES,
    "ggml": GGML / OWN,
    "cpu": CPU / OWN,
    "cuda": CUDA / OWN,
}  # of native/src -> of the tree
_COPIED = (SOURCES, GGML, CPU)  # whose patched sources have a stock library beside the patched one

# A patch may add to `enum ggml_type` in this header, and change nothing else in any. The objects that stock
# libraries share with ours then compute what they would with the header as it was: the enumeration keeps its
# size, no structure holds a table of types, and what else knows GGML_TYPE_COUNT takes it for "none" only
# (llama-quant.cpp) or is compiled from both forms (ggml.c, ggml-quants.c, gguf.cpp, ggml-cpu.c, ops.cpp).
_HEADER = "vendor/llama.cpp/ggml/include/ggml.h"
_HEADER_LINE = "        GGML_TYPE_"


def prepare(archive: Path, folder: Path, base: Base, *, native: Path, key: str) -> Path:
    """Unpack the verified archive under `folder` and make the tree ours. Returns the tree."""
    tree = unpack(archive, folder, base)
    add_sources(tree, native)
    patches = sorted((native / "patches").glob("*.patch"))
    keep_stock(tree, patches)
    for one in patches:
        patch.apply(one, tree)
    set_version(tree, base, key, [one.name for one in patches])
    return tree


def unpack(archive: Path, folder: Path, base: Base) -> Path:
    """Raises SourceMismatch for an archive with anything but files and folders inside its one folder."""
    if not hasattr(tarfile, "data_filter"):
        raise NativeError("this Python unpacks archives without checks: take 3.11.4 or newer")
    try:
        with tarfile.open(archive, "r:gz") as packed:
            packed.extractall(folder, filter="data")
    except (tarfile.TarError, OSError, EOFError) as error:
        raise SourceMismatch(f"{archive.name} cannot be unpacked: {error}") from None
    tree = folder / base.folder
    if not (tree / SOURCES).is_dir():
        raise SourceMismatch(f"{archive.name} does not hold {base.folder}/{SOURCES}")
    return tree


def add_sources(tree: Path, native: Path) -> None:
    """Our files beside libllama's, those of `src/ggml`, `src/cpu` and `src/cuda` in folders of ggml's."""
    for name, target in _FOLDERS.items():
        folder = native / "src" / name
        (tree / target).mkdir(parents=True, exist_ok=True)
        for path in sorted(path for path in folder.glob("*") if path.is_file()):
            if (tree / target / path.name).exists():
                raise NativeError(f"native/src/{path.name} would replace llama.cpp's own file: rename it")
            shutil.copyfile(path, tree / target / path.name)


def keep_stock(tree: Path, patches: list[Path]) -> None:
    """Keep the unpatched form of patched sources: the stock libraries of the test are linked from them."""
    for folder in _COPIED:
        (tree / folder / STOCK).mkdir(parents=True)
    hunks = [hunk for one in patches for hunk in patch.parse(one)]
    for hunk in hunks:
        _check_header(hunk)
    for name in {hunk.file for hunk in hunks}:
        path = Path(name)
        if path.suffix in (".c", ".cpp"):
            if path.parent not in _COPIED:
                raise NativeError(
                    f"a patch changes {name}, which is neither libllama's, ggml-base's nor the CPU back end's"
                )
            if (tree / path).is_file():  # else applying the patch says so, naming the hunk
                shutil.copyfile(tree / path, tree / path.parent / STOCK / path.name)


def _check_header(hunk: patch.Hunk) -> None:
    if Path(hunk.file).suffix not in (".h", ".hpp"):
        return
    if hunk.file != _HEADER or not all(line.startswith(_HEADER_LINE) for line in (*hunk.old, *hunk.new)):
        raise NativeError(
            f"a patch changes the header {hunk.file}: the stock library could not share object files"
        )


def set_version(tree: Path, base: Base, key: str, patches: list[str]) -> None:
    """Python's __version__ (which scikit-build-core reads), the library's, and a record of what was built."""
    init = tree / "llama_cpp" / "__init__.py"
    text = init.read_text(encoding="utf-8")
    line = f'__version__ = "{base.version}"'
    if text.count(line) != 1:
        raise NativeError(f"llama_cpp/__init__.py does not hold {line!r} once")
    init.write_text(text.replace(line, f'__version__ = "{base.full_version}"'), encoding="utf-8")
    header = tree / SOURCES / "steerway-version.h"
    header.write_text(f'#pragma once\n\n#define STEERWAY_VERSION "{base.full_version}"\n', encoding="utf-8")
    record = {"version": base.full_version, "key": key, "base_sha256": base.sha256, "patches": patches}
    (tree / "llama_cpp" / "steerway.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
