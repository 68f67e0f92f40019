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
CPU = Path("vendor/llama.cpp/ggml/src/ggml-cpu")  # of ggml's CPU back end
OWN_CPU = CPU / "steerway"  # the files of src/cpu
STOCK = "steerway-stock"  # folder of unpatched copies of patched sources, see src/steerway.cmake


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
    """Our files beside libllama's, those of `src/cpu` in a folder of the CPU back end."""
    (tree / OWN_CPU).mkdir()
    for folder, target in ((native / "src", SOURCES), (native / "src" / "cpu", OWN_CPU)):
        for path in sorted(path for path in folder.iterdir() if path.is_file()):
            if (tree / target / path.name).exists():
                raise NativeError(f"native/src/{path.name} would replace llama.cpp's own file: rename it")
            shutil.copyfile(path, tree / target / path.name)


def keep_stock(tree: Path, patches: list[Path]) -> None:
    """Keep the unpatched form of patched sources: the stock libraries of the test are linked from them."""
    for folder in (SOURCES, CPU):
        (tree / folder / STOCK).mkdir()
    for name in {name for one in patches for name in patch.files(one)}:
        path = Path(name)
        if path.suffix in (".h", ".hpp"):
            raise NativeError(
                f"a patch changes the header {name}: the stock library could not share object files"
            )
        if path.suffix in (".c", ".cpp"):
            if path.parent not in (SOURCES, CPU):
                raise NativeError(
                    f"a patch changes {name}, which is neither libllama's nor the CPU back end's"
                )
            if (tree / path).is_file():  # else applying the patch says so, naming the hunk
                shutil.copyfile(tree / path, tree / path.parent / STOCK / path.name)


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
