"""What an analysis says: names in a text, and from which definitions a use of one has its value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Name(NamedTuple):
    """A name in a text: characters `start` up to `end` (from 0) read `text`."""

    text: str
    start: int
    end: int


class Edge(NamedTuple):
    """A use of a name and its definitions in text order, so that the latest is the last; never none."""

    use: Name
    definitions: tuple[Name, ...]


@dataclass(frozen=True)
class InScope:
    """A name that can be written at a place; `level` counts the scopes outwards, 0 is the nearest."""

    text: str
    definitions: tuple[Name, ...]
    level: int = 0
