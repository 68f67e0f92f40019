"""`pypi:name@version#object`: documentation of an installed package, read from its files.

Nothing is imported: distributions are found by their metadata, modules by their file names, objects by
parsing. What is shown is of the version that is installed; another version in the reference is a drift.
"""

from __future__ import annotations

import re

from journal.resolvers import examples
from journal.resolvers.content import Content, ReferenceProblem, Scope
from journal.resolvers.pypi import render
from journal.resolvers.pypi.environments import Installed, find
from journal.resolvers.pypi.modules import Package
from journal.resolvers.secrets import without_secrets

_TARGET = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)(?:@(?P<version>[^#\s]+))?(?:#(?P<object>\S+))?")


def resolve(target: str, scope: Scope) -> Content:
    """The documentation of a package, or of one object in it. Raises ReferenceProblem."""
    match = _TARGET.fullmatch(target)
    if match is None:
        raise ReferenceProblem(f"pypi:{target} cannot be read, write it as pypi:name@version#object")
    installed = find(match["name"], scope)
    wanted = match["object"] or ""
    name, text, language = _object(installed, wanted) if wanted else _page(installed)
    pinned = match["version"]
    moved = pinned is not None and pinned.lstrip("v=") != installed.version
    note = f"pypi:{match['name']}@{pinned} is pinned, {installed.version} is installed" if moved else ""
    return Content(
        name,
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
