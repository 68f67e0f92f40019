"""Packs ggml as this project builds it, patched and with our files, and its test-backend-ops.

2 MB, which native/gpu/check.sh builds on a machine with a GPU and without a network.

    python native/gpu/tree.py OUT.tar.xz
"""

from __future__ import annotations

import sys
import tarfile
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "backend"))

from steerway_native import fetch, pins, tree
from steerway_native.errors import NativeError


def pack(out: Path) -> None:
    base = pins.read()
    with tempfile.TemporaryDirectory(prefix="steerway-gpu-") as work:
        source = tree.prepare(fetch.source(base), Path(work), base, native=pins.NATIVE, key="gpu")
        llama = source / "vendor" / "llama.cpp"
        with tarfile.open(out, "w:xz") as packed:
            for name in ("ggml", "tests/test-backend-ops.cpp"):
                packed.add(llama / name, name)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python native/gpu/tree.py OUT.tar.xz")
    try:
        pack(Path(sys.argv[1]))
    except NativeError as error:
        sys.exit(f"gpu tree: {error}")
