"""Conflict markers of a merge: where they stand, and what each side of the file would be."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Literal

Side = Literal["ours", "base", "theirs"]
Span = tuple[int, int]

_MARKER = re.compile(rb"(?<![^\r\n])(?:([<>|])\1{6}(?=[ \r\n]|\Z)|={7}(?=[\r\n]|\Z))[^\r\n]*+(?:\r\n?|\n)?+")


@dataclass(frozen=True, slots=True)
class Region:
    """One `<<<<<<<` to `>>>>>>>`, as offsets of whole lines; `base` only in diff3 style."""

    start: int
    end: int
    ours: Span
    base: Span | None
    theirs: Span

    def side(self, side: Side) -> Span:
        """Where this side's lines are; empty for the base of a conflict that carries none."""
        if side == "base":
            return self.base or (self.theirs[0], self.theirs[0])
        return self.ours if side == "ours" else self.theirs


@dataclass(slots=True)
class _Open:
    start: int
    ours: int
    base: Span | None = None
    middle: int | None = None
    theirs: int | None = None


def regions(data: bytes) -> tuple[list[Region], list[int]]:
    """The complete outermost conflicts in order, and the offsets of `<<<<<<<` lines that nothing closes."""
    if b"<<<<<<<" not in data:
        return [], []
    found: list[Region] = []
    stack: list[_Open] = []
    for match in _MARKER.finditer(data):
        kind, top = data[match.start()], stack[-1] if stack else None
        if kind == 0x3C:
            stack.append(_Open(match.start(), match.end()))
        elif top is None:
            continue
        elif kind == 0x7C and top.middle is None:
            top.middle, top.base = match.start(), (match.end(), match.end())
        elif kind == 0x3D and top.theirs is None:
            top.base = (top.base[0], match.start()) if top.base else None
            top.middle, top.theirs = top.middle if top.middle is not None else match.start(), match.end()
        elif kind == 0x3E and top.theirs is not None and top.middle is not None:
            while found and found[-1].start > top.start:
                found.pop()
            ours, theirs = (top.ours, top.middle), (top.theirs, match.start())
            found.append(Region(top.start, match.end(), ours, top.base, theirs))
            stack.pop()
    return found, [opened.start for opened in stack]


@dataclass(frozen=True)
class View:
    """The file as one side has it; `original` maps an offset in `data` back to the file."""

    data: bytes
    pieces: Sequence[Span]
    _starts: list[int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        lengths = (end - start for start, end in self.pieces)
        object.__setattr__(self, "_starts", [0, *accumulate(lengths)])

    def original(self, offset: int) -> int:
        piece = bisect_right(self._starts, offset, hi=len(self.pieces)) - 1
        return self.pieces[piece][0] + offset - self._starts[piece]

    def span(self, start: int, end: int) -> Span:
        """The bytes `start:end` of this side as a span of the file, what other sides have inside included."""
        return (
            (self.original(start), self.original(end - 1) + 1) if end > start else (self.original(start),) * 2
        )


def view(data: bytes, found: Iterable[Region], side: Side, *, start: int = 0, end: int | None = None) -> View:
    """`data[start:end]` with every region in it replaced by its `side`."""
    pieces: list[Span] = []
    position, end = start, len(data) if end is None else end
    for region in found:
        if start <= region.start and region.end <= end:
            pieces += [(position, region.start), region.side(side)]
            position = region.end
    pieces = [piece for piece in [*pieces, (position, end)] if piece[0] < piece[1]]
    return View(b"".join(data[a:b] for a, b in pieces), pieces or [(start, start)])


def spans(found: Sequence[Region], ours: Iterable[Span], theirs: Iterable[Span]) -> list[Span]:
    """Spans of the conflict cells: each region with the blocks of either side that it cuts.

    `ours` and `theirs` are the blocks of the two sides as spans of the file. A block that only one side has,
    outside of every region, means that the region before it left the two sides in different states (an opened
    fence, say): everything from that region to the block's end is then one conflict.
    """
    common = set(ours) & set(theirs)
    single = (set(ours) | set(theirs)) - common
    cuts = {(region.start, region.end) for region in found}
    late = single - cuts
    merged: list[Span] = []
    conflicts: list[int] = []
    for span in sorted(cuts | common | single):
        if conflicts and span in late:
            del merged[conflicts[-1] + 1 :]
        if merged and (span[0] < merged[-1][1] or (conflicts and span in late)):
            merged[-1] = (merged[-1][0], max(merged[-1][1], span[1]))
        else:
            merged.append(span)
        if span in cuts and conflicts[-1:] != [len(merged) - 1]:
            conflicts.append(len(merged) - 1)
    return [merged[index] for index in conflicts]
