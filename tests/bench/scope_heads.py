"""Lines that define what the function at the cursor refers to, for a file that is cut to a budget.

What a cut leaves out can be what the next line is about: the parameters of the function that the cursor is
in, the signature of one that it calls. `needed` finds those headers by scope analysis.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

from engine.usedef import Analysis, Name

_ATTRIBUTE = re.compile(r"\.([^\W\d]\w*)")
_MOST_CHARACTERS = 240
_CLOSED = frozenset({"rust", "go", "java", "c", "javascript", "typescript", "tsx"})


@dataclass(frozen=True)
class Header:
    """Whole lines that declare something: characters `start` to `end`, and how they are shown."""

    start: int
    end: int
    text: str


def needed(analysis: Analysis, cursor: int, kept: tuple[int, int]) -> tuple[Header, ...]:
    """Headers outside of the characters `kept` of what is referred to near the cursor, the most used first.

    References are those of the function (or top-level statement) around the cursor, as far as it is kept,
    without the cursor's line: typing on it changes nothing. An attribute that just one class of the file
    declares counts as a reference to it.
    """
    source = analysis.source
    line = source.rfind("\n", 0, cursor) + 1
    below = source.find("\n", cursor) + 1 or len(source)
    start, end = analysis.piece_at(cursor)
    spans = [(max(start, kept[0]), line), (below, min(end, kept[1]))]
    counts = referred(analysis, [span for span in spans if span[0] < span[1]])
    return headers(analysis, counts, kept)


def referred(analysis: Analysis, spans: list[tuple[int, int]]) -> Counter[Name]:
    """How often each definition is referred to in `spans`."""
    counts: Counter[Name] = Counter()
    for start, end in spans:
        for edge in analysis.edges_between(start, end):
            counts.update(edge.definitions[-1:])
    members: dict[str, list[Name]] = {}
    for name in analysis.declared:
        members.setdefault(name.text, []).append(name)
    for start, end in spans:
        for match in _ATTRIBUTE.finditer(analysis.source, start, end):
            found = members.get(match[1], ())
            if len(found) == 1:
                counts[found[0]] += 1
    return counts


def headers(analysis: Analysis, counts: Counter[Name], kept: tuple[int, int]) -> tuple[Header, ...]:
    """The headers of the definitions counted that lie outside of `kept`, the most used first."""
    found: dict[int, Header] = {}
    for name, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0].start)):
        if kept[0] <= name.start < kept[1]:
            continue
        header = _header(analysis, name)
        if header is not None and not kept[0] <= header.start < kept[1]:
            found.setdefault(header.start, header)
    return tuple(found.values())


def _header(analysis: Analysis, name: Name) -> Header | None:
    span = analysis.header_of(name)
    if span is None:
        return None
    source = analysis.source
    start = source.rfind("\n", 0, span[0]) + 1
    indent = source[start : span[0]]
    shown = " ".join(source[span[0] : span[1]].split())
    if len(shown) > _MOST_CHARACTERS:
        shown = shown[:_MOST_CHARACTERS].rpartition(" ")[0] + " ..."
    elif analysis.language == "python" and shown.endswith(":"):
        shown += " ..."
    elif analysis.language in _CLOSED and source[span[1] : span[1] + 1] == "{":
        shown += " { ... }"
    return Header(start, span[1], (indent if not indent.strip() else "") + shown) if shown else None
