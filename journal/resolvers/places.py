"""Where the symbol of a reference is defined and used in its file, as lines with their text."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from engine import grammars
from engine.privacy.strings import without_secrets
from journal.resolvers import cache, guard
from journal.resolvers.content import ReferenceProblem, Scope
from journal.symbols import uses
from journal.workspace import boundary

if TYPE_CHECKING:
    from journal.references import Reference

How = Literal["defined", "used", "reached"]


@dataclass(frozen=True)
class Place:
    """A line (from 1) and its text without secrets. `reached`: the name behind a dot, so a guess."""

    how: How
    line: int
    text: str


@dataclass(frozen=True)
class Places:
    """The places of a symbol in the file `name`, definitions first; or the `problem`."""

    name: str = ""
    language: str = ""
    places: tuple[Place, ...] = ()
    problem: str = ""

    @property
    def used(self) -> int:
        """On how many lines it is used."""
        return sum(place.how != "defined" for place in self.places)


_kept: cache.Cache[Places] = cache.Cache(64)


def places(reference: Reference, *, root: Path, path: Path | None = None) -> Places:
    """Where the symbol of `reference` is defined and used in its file today. Never raises.

    `root` is the workspace's, `path` the journal's file, in whose folder the path is tried first.
    """
    if not reference.symbol or reference.scheme or reference.problem:
        return Places(problem="only a symbol of a file has definitions and uses")
    scope = Scope(root, boundary(root), path.absolute().parent if path is not None else root)
    try:
        file, name = guard.find(reference.src, scope)
        signature = cache.signature(file)
        key = (file, name, signature, scope.boundary, reference.symbol)
        kept = _kept.get(key) if signature is not None else None
        if kept is not None:
            return kept
        found = _read(guard.read(file, reference.src), name, reference.symbol)
    except (ReferenceProblem, OSError, ValueError, RecursionError) as error:
        return Places(problem=str(error))
    return _kept.put(key, found) if signature is not None else found


def _read(text: str, name: str, symbol: str) -> Places:
    language = grammars.language_of(name, text)
    found = uses(text, language, symbol)
    if found.problem:
        return Places(name, language, problem=f"{name}: {found.problem}")
    lines = text.split("\n")
    kinds: tuple[tuple[How, tuple[int, ...]], ...] = (
        ("defined", found.definitions),
        ("used", found.uses),
        ("reached", found.reached),
    )
    listed = [Place(how, line, _line(lines, line, language)) for how, numbers in kinds for line in numbers]
    listed.sort(key=lambda place: (place.how != "defined", place.line))
    return Places(name, language, tuple(listed))


def _line(lines: list[str], number: int, language: str) -> str:
    return without_secrets(lines[number - 1], language)[0].strip()
