"""`pypi:name@version#object`: documentation of an installed package, read from its files.

Nothing is imported: distributions are found by their metadata, modules by their file names, objects by
parsing. What is shown is of the version that is installed; another version in the reference is a drift.
"""

from __future__ import annotations

import re
from pathlib import Path

from engine.privacy.strings import without_secrets
from journal.resolvers import cache, examples
from journal.resolvers.content import Content, ReferenceProblem, Scope
from journal.resolvers.pypi import render
from journal.resolvers.pypi.environments import Installed, NotInstalled, find, search_paths
from journal.resolvers.pypi.modules import Package

# By target and the times of the environments' folders, which change with every installation. What is
# installed in editable mode is read anew each time: its sources change where they are.
_answers: cache.Cache[Content | str] = cache.Cache(128)
_TARGET = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)(?:@(?P<version>[^#\s]+))?(?:#(?P<object>\S+))?")


def resolve(target: str, scope: Scope) -> Content:
    """The documentation of a package, or of one object in it. Raises ReferenceProblem."""
    folders = [Path(folder) for paths in search_paths(scope) for folder in paths]
    signatures = {folder: cache.signature(folder) for folder in folders if folder.exists()}
    settled = all(signature is not None for signature in signatures.values())
    key = (target, tuple(signatures.items()))
    kept = _answers.get(key) if settled else None
    if isinstance(kept, str):
        raise ReferenceProblem(kept)
    if kept is not None:
        return kept
    match = _TARGET.fullmatch(target)
    if match is None:
        raise ReferenceProblem(f"pypi:{target} cannot be read, write it as pypi:name@version#object")
    try:
        installed = find(match["name"], scope)
    except NotInstalled as error:
        if settled:
            _answers.put(key, str(error))
        raise
    content = _read(installed, match["name"], match["version"], match["object"] or "")
    if settled and not installed.editable:
        _answers.put(key, content)
    return content


def _read(installed: Installed, name: str, pinned: str | None, wanted: str) -> Content:
    path, text, language = _object(installed, wanted) if wanted else _page(installed)
    moved = pinned is not None and pinned.lstrip("v=") != installed.version
    note = f"pypi:{name}@{pinned} is pinned, {installed.version} is installed" if moved else ""
    return Content(
        path,
        without_secrets(text, language)[0],
        text,
        "api",
        language,
        version=installed.version,
        note=note,
        pinned_otherwise=pinned is not None,
        moved_on=moved,
    )


def _object(installed: Installed, wanted: str) -> tuple[str, str, str]:
    found = Package(installed.files()).find(wanted, installed)
    return found.path, render.document(found, installed), "python"


def _page(installed: Installed) -> tuple[str, str, str]:
    text, _ = examples.lead(installed.readme())
    heading = f"# {installed.name} {installed.version}"
    summary = f"{heading}\n\n{installed.summary}\n" if installed.summary else f"{heading}\n"
    body = render.bounded(text, render.PAGE_CHARS)
    return f"{installed.name}/README.md", f"{summary}\n{body}".rstrip() + "\n", "markdown"
