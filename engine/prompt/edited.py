"""The edited file as units: the chunks before and after the cursor, and between them the text to compute."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from engine.prompt.near import boundary_after, boundary_before, near
from engine.prompt.parts import Parts
from engine.prompt.prompt import Composition, Slice, Unit
from engine.prompt.units import Chunk, Units, of_file

# Of a larger file this many characters on either side of the cursor take part, cut in steps of a quarter.
WINDOW_CHARACTERS = 1 << 17


class Far(NamedTuple):
    """What of one chunk lies outside the near lines: `count` of its unit's tokens from `first`, as text."""

    unit: Unit
    first: int
    count: int
    text: str

    @property
    def slice(self) -> Slice:
        """The tokens, as part of the unit."""
        return Slice(self.unit, self.first, self.count)


@dataclass(frozen=True)
class Edited:
    """The edited file, of which `above`, `line` (up to the cursor) and `rest` (behind it) are computed.

    `before` and `after` are the others, nearest first: joined, with these between, they are the file but for
    `cut_before` and `cut_after` lines that are too far away.
    """

    units: Units
    before: tuple[Far, ...]
    after: tuple[Far, ...]
    above: str
    line: str
    rest: str
    cut_before: int
    cut_after: int

    def around_line(self, lines_above: int, lines_below: int) -> str:
        """The lines around the cursor's, without it."""
        above, below = self.above, self.rest.partition("\n")[2]
        for far in self.before:
            if above.count("\n") > lines_above:
                break
            above = far.text + above
        for far in self.after:
            if below.count("\n") > lines_below:
                break
            below += far.text
        kept = above.splitlines(keepends=True)[-lines_above:], below.splitlines(keepends=True)[:lines_below]
        return "".join(kept[0] + kept[1])


def read(parts: Parts, composition: Composition) -> Edited:
    """The edited file of the request, cut where `near` says, at the nearest boundaries between tokens."""
    text, cursor, cut_before, cut_after = _window(parts.request.prefix, parts.request.suffix)
    path = parts.request.path or "file"
    units = of_file(parts, path, text, chain_tokens=composition.chain_tokens)
    place = near(text, cursor, composition.near_tokens, parts.encode)
    before, begin = _before(parts, units.chunks, place.begin)
    after, end = _after(parts, units.chunks, place.end)
    line = max(begin, place.line)
    return Edited(
        units,
        before,
        after,
        text[begin:line],
        text[line:cursor],
        text[cursor:end],
        cut_before,
        cut_after,
    )


def _before(parts: Parts, chunks: Sequence[Chunk], offset: int) -> tuple[tuple[Far, ...], int]:
    """What ends at or before character `offset`, nearest first, and where it ends."""
    found: list[Far] = []
    start = 0
    for chunk in chunks:
        end = start + len(chunk.text)
        if end > offset:
            tokens = chunk.unit.tokens[chunk.unit.title :]
            count, size = boundary_before(chunk.text, tokens, offset - start, parts.tokenizer.piece)
            if count:
                found.append(Far(chunk.unit, chunk.unit.title, count, chunk.text[:size]))
            return tuple(reversed(found)), start + size
        if chunk.tokens:
            found.append(Far(chunk.unit, chunk.unit.title, chunk.tokens, chunk.text))
        start = end
    return tuple(reversed(found)), start


def _after(parts: Parts, chunks: Sequence[Chunk], offset: int) -> tuple[tuple[Far, ...], int]:
    """What begins at or after character `offset`, nearest first, and where it begins."""
    found: list[Far] = []
    begin = start = 0
    for chunk in chunks:
        end = start + len(chunk.text)
        if start >= offset and chunk.tokens:
            found.append(Far(chunk.unit, chunk.unit.title, chunk.tokens, chunk.text))
        elif start < offset < end:
            title = chunk.unit.title
            tokens = chunk.unit.tokens[title:]
            count, size = boundary_after(chunk.text, tokens, offset - start, parts.tokenizer.piece)
            begin = start + size
            if count < len(tokens):
                found.append(Far(chunk.unit, title + count, len(tokens) - count, chunk.text[size:]))
        start = end
    return tuple(found), max(begin, offset)


def _window(prefix: str, suffix: str) -> tuple[str, int, int, int]:
    """The text around the cursor, the cursor in it, and how many lines before and after were left out.

    Its ends are line starts that move in steps, so that typing moves none.
    """
    step = WINDOW_CHARACTERS // 4
    start, end = 0, len(suffix)
    if len(prefix) > WINDOW_CHARACTERS:
        start = (len(prefix) - WINDOW_CHARACTERS) // step * step
        start = prefix.find("\n", start, len(prefix) - step) + 1 or start
    if len(suffix) > WINDOW_CHARACTERS:
        # Counted from the file's end, which typing does not move.
        end = len(suffix) - (len(suffix) - WINDOW_CHARACTERS) // step * step
        end = suffix.find("\n", end) + 1 or end
    text = prefix[start:] + suffix[:end]
    return text, len(prefix) - start, prefix.count("\n", 0, start), suffix.count("\n", end)
