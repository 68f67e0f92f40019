"""A reference as a person types it in one line, and as a cell's metadata."""

from __future__ import annotations

import re
from typing import Any

from journal.document import Cell

_LINES = re.compile(r"(.+?)#L([0-9]+)(?:-L?([0-9]+))?")
_COLON_LINES = re.compile(r"([^:#]+):([0-9]+)(?:-([0-9]+))?")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")


def from_text(text: str) -> dict[str, Any]:
    """`src`, `lines` and `symbol` of what was typed; None for what is not there."""
    text = text.strip()
    match = _LINES.fullmatch(text) or _COLON_LINES.fullmatch(text)
    if match and not _SCHEME.match(match[1]):
        first, last = match[2], match[3] or match[2]
        return {"src": match[1], "lines": f"{first}-{last}", "symbol": None}
    if not _SCHEME.match(text) and "#" in text:
        source, _, symbol = text.partition("#")
        if source and symbol:
            return {"src": source, "lines": None, "symbol": symbol}
    return {"src": text, "lines": None, "symbol": None}


def meta_changes(wanted: dict[str, Any], cell: Cell) -> dict[str, Any]:
    """What to change in a cell's metadata; a pin of another text does not stay."""
    changes = {
        name: value for name, value in wanted.items() if value is not None or cell.meta.get(name) is not None
    }
    return {**changes, "sha256": None} if "sha256" in cell.meta else changes
