"""What a resolver gets and what it gives back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from engine.documents import DocumentKind
from journal.document import Journal
from journal.state import State


class ReferenceProblem(Exception):
    """A reference that leads nowhere; its text is the one line a person reads."""


@dataclass(frozen=True)
class Scope:
    """Where a reference stands: the workspace, the journal and its file, the user's state.

    `base` is the journal's folder, which paths are relative to first; `boundary` the folder that no path
    may lead out of.
    """

    root: Path
    boundary: Path
    base: Path
    journal: Journal | None = None
    journal_key: str = ""
    state: State | None = None


@dataclass(frozen=True)
class Content:
    """What a reference says today.

    `text` is what a model may read; `exact` is what its hash is taken of; `plain` is `exact` without
    secrets, which is what may be kept and compared (`""`: the same as `text`). `note` is a problem that did
    not keep it from being read. `moved_on` tells that a pin other than the hash (a package's version) no
    longer holds. `earlier` looks up the `plain` of an older text by the start of its hash.
    """

    name: str
    text: str
    exact: str
    kind: DocumentKind
    language: str = ""
    version: str = ""
    note: str = ""
    plain: str = ""
    pinned_otherwise: bool = False
    moved_on: bool = False
    earlier: Callable[[str], str | None] | None = None
