"""What is built: the pinned base, from the table `tool.steerway-native` of native/pyproject.toml."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

NATIVE = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Base:
    name: str
    version: str  # of the source distribution
    local: str  # our local version label
    sha256: str

    @property
    def full_version(self) -> str:
        return f"{self.version}+{self.local}"

    @property
    def folder(self) -> str:
        """Name of the archive's only top-level folder."""
        return f"{self.name.replace('-', '_')}-{self.version}"

    @property
    def archive(self) -> str:
        return f"{self.folder}.tar.gz"


def read(native: Path = NATIVE) -> Base:
    table = tomllib.loads((native / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["steerway-native"]
    return Base(table["name"], table["version"], table["local"], table["sha256"])
