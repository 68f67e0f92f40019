"""A suggestion that says the line above once more."""

from __future__ import annotations

from engine.request import Request

_SHORTEST_LINE = 4


def drop(text: str, request: Request) -> str | None:
    """None when `text` completes the cursor's line to the nearest non-blank line above it."""
    above, _, line = request.prefix.rpartition("\n")
    first, _, rest = text.partition("\n")
    completed = (line + first).strip() or rest.partition("\n")[0].strip()
    last = next((row.strip() for row in reversed(above.rsplit("\n", 8)) if row.strip()), "")
    if not (line + first).strip() and not rest.strip():
        return text
    return None if len(completed) >= _SHORTEST_LINE and completed == last else text
