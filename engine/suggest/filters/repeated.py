"""A suggestion that goes round in circles."""

from __future__ import annotations

from engine.request import Request

_MOST_EQUAL_LINES = 2
_SHORTEST_LINE = 3


def trim(text: str, request: Request) -> str:
    """`text` cut where a line, or a pair of lines, stands for the third time in a row."""
    lines = text.split("\n")
    for index in range(len(lines)):
        for period in (1, 2):
            if _circles(lines, index, period):
                return "\n".join(lines[: index + 1 - 2 * period])
    return text


def _circles(lines: list[str], index: int, period: int) -> bool:
    """Whether lines[index] ends the third round of `period` lines."""
    length = (_MOST_EQUAL_LINES + 1) * period
    window = lines[index + 1 - length : index + 1] if index + 1 >= length else []
    if not window or max(len(line.strip()) for line in window) < _SHORTEST_LINE:
        return False
    return all(line == window[i % period] for i, line in enumerate(window))
