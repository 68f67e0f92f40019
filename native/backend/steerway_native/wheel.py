"""The wheel: from the cache, or built with scikit-build-core from the prepared tree."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

from . import cache, fetch, identity, options, pins, tree
from .errors import NativeError


def entry(key: str) -> Path:
    """The cache entry of a key: the wheel, and `stock/`, the unpatched libllama for the bit-identity test."""
    return cache.folder() / "wheels" / key


def cached(key: str) -> Path | None:
    """The cached wheel, unless it is damaged."""
    for wheel in entry(key).glob("*.whl"):
        with contextlib.suppress(zipfile.BadZipFile, OSError), zipfile.ZipFile(wheel) as packed:
            if packed.testzip() is None:
                return wheel
        shutil.rmtree(entry(key))
    return None


def get(native: Path = pins.NATIVE) -> Path:
    """Path of the wheel in the cache, built first if needed (3 to 6 minutes on 2 cores)."""
    key = identity.key(native)
    if found := cached(key):
        return found
    with cache.lock(f"wheels/{key}"):
        return cached(key) or _build(key, native)


def _build(key: str, native: Path) -> Path:
    base = pins.read(native)
    started = time.monotonic()
    _say(f"building {base.name} {base.full_version}: 3 to 6 minutes on 2 cores, later installs take seconds")
    archive = fetch.source(base)
    with tempfile.TemporaryDirectory(prefix="steerway-native-") as work:
        _say("unpacking and patching")
        source = tree.prepare(archive, Path(work), base, native=native, key=key)
        out = Path(work) / "out"
        out.mkdir()
        _run_backend(source, out, Path(work) / "build", base.full_version)
        _keep_stock(Path(work) / "build", out)
        cache.put_folder(out, entry(key))
    _say(f"built in {time.monotonic() - started:.0f} s")
    wheel = cached(key)
    if wheel is None:
        raise NativeError("the build gave no wheel: see the compiler's messages above")
    return wheel


def _run_backend(source: Path, out: Path, build: Path, version: str) -> None:
    from scikit_build_core import build as backend

    with _inside(source), _plain_paths(source):
        settings = options.config_settings(version) | {"build-dir": str(build)}  # takes up the flags set here
        backend.build_wheel(str(out), settings)


def _keep_stock(build: Path, out: Path) -> None:
    (out / "stock").mkdir()
    for library in (build / "steerway-stock").glob("lib*"):
        shutil.copyfile(library, out / "stock" / library.name)


@contextlib.contextmanager
def _inside(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@contextlib.contextmanager
def _plain_paths(source: Path) -> Iterator[None]:
    """No name of a temporary folder in the libraries (assertion messages carry file names)."""
    flag = f"-ffile-prefix-map={source.parent}={source.name}"
    before = {name: os.environ.get(name) for name in ("CFLAGS", "CXXFLAGS")}
    for name, value in before.items():
        os.environ[name] = f"{value} {flag}" if value else flag
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def metadata(folder: Path, native: Path = pins.NATIVE) -> str:
    """Write the .dist-info folder into `folder`, without compiling. Returns its name."""
    if found := cached(identity.key(native)):
        return _metadata_of(found, folder)
    from scikit_build_core import build as backend

    base = pins.read(native)
    with tempfile.TemporaryDirectory(prefix="steerway-native-") as work:
        source = tree.prepare(fetch.source(base), Path(work), base, native=native, key="")
        with _inside(source):
            return str(backend.prepare_metadata_for_build_wheel(str(folder), {}))


def _metadata_of(wheel: Path, folder: Path) -> str:
    with zipfile.ZipFile(wheel) as packed:
        names = [name for name in packed.namelist() if name.split("/")[0].endswith(".dist-info")]
        packed.extractall(folder, [name for name in names if not name.endswith("/RECORD")])
    return names[0].split("/")[0]


def _say(text: str) -> None:
    print(f"steerway-native: {text}", file=sys.stderr, flush=True)
