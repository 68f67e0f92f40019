"""PEP 517 back end of native/: the hooks. Each module beside this one does one step of the build."""

from __future__ import annotations

import contextlib
import sys
import tarfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

from . import cache, identity, pins, wheel
from .errors import NativeError

Settings = dict[str, object] | None


@contextlib.contextmanager
def _one_line_errors() -> Iterator[None]:
    """A front end shows what a back end prints: one line instead of a traceback."""
    try:
        yield
    except NativeError as error:
        sys.exit(f"steerway-native: {error}")


def get_requires_for_build_wheel(config_settings: Settings = None) -> list[str]:
    """cmake and ninja, unless the wheel is in the cache."""
    with _one_line_errors():
        return [] if wheel.cached(identity.key()) else ["cmake>=3.21", "ninja>=1.10"]


def prepare_metadata_for_build_wheel(metadata_directory: str, config_settings: Settings = None) -> str:
    with _one_line_errors():
        return wheel.metadata(Path(metadata_directory))


def build_wheel(
    wheel_directory: str, config_settings: Settings = None, metadata_directory: str | None = None
) -> str:
    with _one_line_errors():
        found = wheel.get()
        return cache.put_file(found, Path(wheel_directory) / found.name).name


def build_sdist(sdist_directory: str, config_settings: Settings = None) -> str:
    """This folder as an archive: back end, sources and patches. Building it still fetches the base."""
    base = pins.read()
    name = f"{base.name.replace('-', '_')}-{base.full_version}"
    info = f"Metadata-Version: 2.2\nName: {base.name}\nVersion: {base.full_version}\n".encode()
    with tarfile.open(Path(sdist_directory) / f"{name}.tar.gz", "w:gz", format=tarfile.PAX_FORMAT) as packed:
        for part in ("pyproject.toml", "backend", "patches", "src"):
            packed.add(pins.NATIVE / part, f"{name}/{part}", filter=_without_caches)
        header = tarfile.TarInfo(f"{name}/PKG-INFO")
        header.size = len(info)
        packed.addfile(header, BytesIO(info))
    return f"{name}.tar.gz"


def _without_caches(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if "__pycache__" in member.name else member
