"""Texts in which every name says what it is: `x^` defines x, `x~` uses it; numbers tell several x apart.

`x^2` is the second x; `f~1,2` is a use that has two definitions. A name without a mark has no definition in
the text (a field, a label, something imported by a wildcard), and an edge from it counts as wrong.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).parent / "labelled"
_MARK = re.compile(r"(?<![\w$])([A-Za-z_$][\w$]*)([\^~])(\d*(?:,\d+)*)")

Span = tuple[int, int]


class Labelled(NamedTuple):
    """A text without its marks, and the definitions of each use, as character spans."""

    text: str
    uses: dict[Span, set[Span]]


def read(language: str) -> Labelled:
    """The labelled text of `language`."""
    marked = (FOLDER / f"{language}.txt").read_text("utf-8")
    parts: list[str] = []
    length = last = 0
    definitions: dict[tuple[str, str], Span] = {}
    uses: list[tuple[Span, str, list[str]]] = []
    for match in _MARK.finditer(marked):
        name, mark, numbers = match.groups()
        parts += [marked[last : match.start()], name]
        start = length + match.start() - last
        length, last = start + len(name), match.end()
        if mark == "^":
            assert (name, numbers) not in definitions, f"{language}: {name}^{numbers} twice"
            definitions[name, numbers] = (start, length)
        else:
            uses.append(((start, length), name, numbers.split(",") if numbers else [""]))
    text = "".join([*parts, marked[last:]])
    return Labelled(text, {span: {definitions[name, n] for n in numbers} for span, name, numbers in uses})
