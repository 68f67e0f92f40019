"""What a result was made from: the cell, the cells it needs, and where it ran."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Literal

from journal.document import Cell, Journal

Freshness = Literal["never", "fresh", "stale", "failed"]


def needs(cell: Cell) -> tuple[str, ...]:
    """Names or ids of the cells that must have run before, from the cell's `needs` (a list or "a, b")."""
    value = cell.meta.get("needs", ())
    if isinstance(value, str):
        value = value.replace(",", " ").split()
    return tuple(str(item) for item in value) if isinstance(value, (list, tuple)) else ()


def needed(journal: Journal, cell: Cell) -> tuple[Cell, ...]:
    """The cells that `cell` needs, and what those need, in the order in which they have to run.

    Raises CellUnknown for a name that no cell has. A circle of needs is cut where it closes.
    """
    ordered: dict[str, Cell] = {}
    _collect(journal, cell, ordered, {cell.key})
    return tuple(ordered.values())


def _collect(journal: Journal, cell: Cell, ordered: dict[str, Cell], path: set[str]) -> None:
    for name in needs(cell):
        other = journal.cell(name)
        if other.key in path or other.key in ordered:
            continue
        _collect(journal, other, ordered, path | {other.key})
        ordered[other.key] = other


def source_digest(journal: Journal, cell: Cell, *, environment: Mapping[str, str] | None = None) -> str:
    """Digest (32 hex characters) of the cell's kind and text, of all it needs, and of `environment`."""
    parts = [f"{key}={value}" for key, value in sorted((environment or {}).items())]
    for other in (*needed(journal, cell), cell):
        parts += [other.kind, other.text]
    encoded = [part.encode("utf-8", "replace") for part in parts]
    joined = b"".join(len(part).to_bytes(8, "little") + part for part in encoded)
    return hashlib.blake2b(joined, digest_size=16).hexdigest()
