"""The pinned source distribution: from the cache, STEERWAY_SDIST or pip. Never used unverified."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from . import cache
from .errors import SourceMismatch, SourceUnavailable
from .pins import Base


def source(base: Base) -> Path:
    """Path of the verified archive.

    Raises SourceUnavailable when it can neither be found nor fetched, SourceMismatch for another hash.
    """
    cached = cache.folder() / "sources" / base.sha256 / base.archive
    if cached.is_file() and cache.sha256(cached) == base.sha256:
        return cached
    if given := os.environ.get("STEERWAY_SDIST"):
        return cache.put_file(_given(Path(given), base), cached)
    with tempfile.TemporaryDirectory(prefix="steerway-source-") as folder:
        return cache.put_file(_download(Path(folder), base), cached)


def verify(archive: Path, base: Base) -> Path:
    found = cache.sha256(archive)
    if found != base.sha256:
        raise SourceMismatch(
            f"{archive.name} has SHA-256 {found}, but {base.name} {base.version} is pinned to {base.sha256}: "
            "do not use this file; remove it and try another package index"
        )
    return archive


def _given(archive: Path, base: Base) -> Path:
    if not archive.is_file():
        raise SourceUnavailable(f"STEERWAY_SDIST names {archive}, which is not a file")
    return verify(archive, base)


def _download(folder: Path, base: Base) -> Path:
    """pip prepares metadata of what it downloads; without isolation, for the build tool is here already."""
    print(f"steerway-native: fetching {base.name} {base.version} (77 MB)", file=sys.stderr, flush=True)
    options = ("--no-deps", "--no-build-isolation", "--no-binary", base.name, "--disable-pip-version-check")
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        *options,
        "-d",
        str(folder),
        f"{base.name}=={base.version}",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    archive = folder / base.archive
    if done.returncode != 0 or not archive.is_file():
        reason = (done.stderr.strip().splitlines() or ["pip download gave no file"])[-1]
        raise SourceUnavailable(
            f"cannot fetch {base.name} {base.version}: {reason}: connect to a package index, "
            f"or set STEERWAY_SDIST to a copy of {base.archive}"
        )
    return verify(archive, base)
