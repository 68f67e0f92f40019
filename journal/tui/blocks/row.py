"""Rows: lines of styled text that a cell is drawn as, and how text is made safe and fitted into them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

TAB_WIDTH = 4
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
console = Console(width=1000, no_color=False, color_system="truecolor", force_terminal=True)


@dataclass(slots=True)
class Row:
    """One line on the screen; `fill` is the background behind all of it, "" for the list's own."""

    text: Text
    fill: str = ""


def clean(text: str) -> str:
    """The text without what could speak to the terminal or turn its direction: shown as a mark instead."""
    return _CONTROL.sub("\u00b7", text.expandtabs(TAB_WIDTH))


def joined(*parts: Text) -> Text:
    """The parts in one line, each in its own style: a first part's base style would be everybody's."""
    line = Text(no_wrap=True, end="")
    for part in parts:
        line.append_text(part)
    return line


def wrapped(text: Text, width: int) -> list[Text]:
    """The text in lines no wider than `width`, broken between words where it can be."""
    if not text.plain:
        return [Text()]
    return list(text.wrap(console, max(1, width), overflow="fold"))


def folded(text: Text, width: int) -> Iterator[Text]:
    """A line of code in pieces no wider than `width`, broken anywhere."""
    if cell_len(text.plain) <= width:
        yield text
        return
    if text.plain.isascii():
        yield from text.divide(range(width, len(text.plain), width))
        return
    yield from text.divide(list(_cuts(text.plain, width)))


def _cuts(plain: str, width: int) -> Iterator[int]:
    used = 0
    for index, character in enumerate(plain):
        wide = cell_len(character)
        if used + wide > width and used:
            yield index
            used = 0
        used += wide


def spread(left: Text, right: Text, width: int) -> Text:
    """`left` at the left and `right` at the right; `left` gives way when there is no room for both."""
    room = width - right.cell_len - 1
    line = joined(left)
    if line.cell_len > room:
        line.truncate(max(1, room), overflow="ellipsis")
    line.append(" " * max(1, width - line.cell_len - right.cell_len))
    line.append_text(right)
    if line.cell_len > width:
        line.truncate(width, overflow="ellipsis")
    return line
