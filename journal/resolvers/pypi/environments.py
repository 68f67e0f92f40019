"""Which environments a workspace has, and what is installed in them."""

from __future__ import annotations

import difflib
import json
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, DistributionFinder, MetadataPathFinder
from pathlib import Path
from urllib.parse import unquote, urlsplit

from journal.resolvers.content import ReferenceProblem, Scope

_ENVIRONMENT_FOLDERS = (".venv", "venv", "env")


class NotInstalled(ReferenceProblem):
    """No environment has the package."""


@dataclass(frozen=True)
class Installed:
    """An installed distribution: its metadata and where its files are. Nothing of it is ever imported."""

    name: str
    version: str
    summary: str
    distribution: Distribution

    @property
    def editable(self) -> bool:
        """Whether its sources are somebody's working tree."""
        return _editable(self.distribution) is not None

    def files(self) -> dict[str, Path]:
        """Module name (dotted) -> Python file; a stub stands in only where there is no source."""
        found: dict[str, Path] = {}
        for relative, path in sorted(self._sources(), key=lambda item: item[0].endswith(".pyi")):
            parts = relative.removesuffix("i").removesuffix(".py").split("/")
            parts[0] = parts[0].removesuffix("-stubs")
            if parts[-1] == "__init__":
                parts.pop()
            if parts and all(part.isidentifier() for part in parts):
                found.setdefault(".".join(parts), path)
        return found

    def readme(self) -> str:
        """The long description that the package ships."""
        payload = getattr(self.distribution.metadata, "get_payload", lambda: "")()
        shipped = isinstance(payload, str) and payload.strip()
        text = str(payload) if shipped else _field(self.distribution, "Description")
        return text.replace("\r\n", "\n").strip() + "\n" if text else ""

    def _sources(self) -> Iterator[tuple[str, Path]]:
        editable = _editable(self.distribution)
        if editable is not None:
            for top in (editable / "src", editable):
                if top.is_dir():
                    yield from _walk(top)
            return
        for file in self.distribution.files or ():
            if file.suffix in {".py", ".pyi"} and ".." not in file.parts and not file.is_absolute():
                yield file.as_posix(), Path(str(self.distribution.locate_file(file)))


def find(name: str, scope: Scope) -> Installed:
    """The distribution `name` of the first environment that has it.

    Looked for in the workspace's own environment (`.venv` beside the journal, the root, the repository),
    in `VIRTUAL_ENV`, then in the one Steerway runs in. Raises NotInstalled.
    """
    searched = list(search_paths(scope))
    for paths in searched:
        found = next(iter(_distributions(paths, name)), None)
        version = _field(found, "Version") if found is not None else ""
        if found is not None and version:
            return Installed(_field(found, "Name") or name, version, _field(found, "Summary"), found)
    raise NotInstalled(f"{name} is not installed here{_near(name, searched)}")


def search_paths(scope: Scope) -> Iterator[list[str]]:
    """The module folders of each environment in the order in which they are asked."""
    folders = dict.fromkeys((scope.base, scope.root, scope.boundary))
    candidates = [folder / name for folder in folders for name in _ENVIRONMENT_FOLDERS]
    if os.environ.get("VIRTUAL_ENV"):
        candidates.append(Path(os.environ["VIRTUAL_ENV"]))
    for environment in candidates:
        if (environment / "pyvenv.cfg").is_file():
            yield [str(path) for path in _site_packages(environment)]
    yield [path for path in sys.path if path]


def _site_packages(environment: Path) -> list[Path]:
    patterns = ("lib/python3*/site-packages", "lib64/python3*/site-packages", "Lib/site-packages")
    return [path for pattern in patterns for path in sorted(environment.glob(pattern), reverse=True)]


def _distributions(paths: list[str], name: str | None = None) -> Iterator[Distribution]:
    context = (
        DistributionFinder.Context(name=name, path=paths) if name else DistributionFinder.Context(path=paths)
    )
    yield from MetadataPathFinder.find_distributions(context)


def _near(name: str, searched: list[list[str]]) -> str:
    names = {_field(found, "Name").lower() for paths in searched for found in _distributions(paths)}
    near = difflib.get_close_matches(name.lower(), sorted(names - {""}), n=3, cutoff=0.6)
    if near:
        return f", near it: {', '.join(near)}"
    return ", install it into the workspace's .venv"


def _field(distribution: Distribution, name: str) -> str:
    """A metadata field, "" where it is absent (a broken installation can lack the whole file)."""
    try:
        metadata = distribution.metadata
    except UnicodeDecodeError:
        return ""
    return str(metadata[name]) if metadata is not None and name in metadata else ""


def _editable(distribution: Distribution) -> Path | None:
    try:
        direct = json.loads(distribution.read_text("direct_url.json") or "{}")
    except ValueError:
        return None
    url = urlsplit(str(direct.get("url", "")))
    editable = isinstance(direct.get("dir_info"), dict) and direct["dir_info"].get("editable")
    return Path(unquote(url.path)) if editable and url.scheme == "file" else None


def _walk(top: Path) -> Iterator[tuple[str, Path]]:
    for folder, names, files in os.walk(top):
        names[:] = [name for name in names if re.fullmatch(r"[A-Za-z_]\w*", name) and name != "__pycache__"]
        if folder != str(top) and not any(file.startswith("__init__.py") for file in files):
            names[:] = []
        for file in files:
            if file.endswith((".py", ".pyi")):
                path = Path(folder) / file
                yield path.relative_to(top).as_posix(), path
