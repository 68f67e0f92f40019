"""The edited file as units: the chunks before and after the cursor, and between them the text to compute."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from engine.prompt.near import boundary_after, boundary_before, near
from engine.prompt.parts import Parts
from engine.prompt.prompt import Composition
from engine.prompt.units import Chunk, Units, of_file

# Of a larger file this many characters on either side of the cursor take part, cut in steps of a quarter.
WINDOW_CHARACTERS = 1 << 17


@dataclass(frozen=True)
class Edited:
    """The edited file, of which `above`, `line` (up to the cursor) and `rest` (behind it) are computed.

    `before` and `after` are the others, nearest first: joined, with these between, they are the file but for
    `cut_before` and `cut_after` lines that are too far away.
    """

    units: Units
    before: tuple[Chunk, ...]
    after: tuple[Chunk, ...]
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
    ends = list(accumulate(len(chunk.text) for chunk in units.chunks))
    before, begin = _before(parts, units.chunks, ends, place.begin)
    after, end = _after(parts, units.chunks, ends, place.end)
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


def _before(
    parts: Parts, chunks: Sequence[Chunk], ends: Sequence[int], offset: int
) -> tuple[tuple[Chunk, ...], int]:
    """What ends at or before character `offset`, nearest first, and where it ends."""
    at = bisect_right(ends, offset)
    whole, start = chunks[:at], ends[at - 1] if at else 0
    if at == len(chunks):
        return tuple(reversed(whole)), start
    count, size = boundary_before(*_spelling(chunks[at]), offset - start, parts.tokenizer.piece)
    part = (replace(chunks[at], count=count, text=chunks[at].text[:size]),) if count else ()
    return part + tuple(reversed(whole)), start + size


def _after(
    parts: Parts, chunks: Sequence[Chunk], ends: Sequence[int], offset: int
) -> tuple[tuple[Chunk, ...], int]:
    """What begins at or after character `offset`, nearest first, and where it begins."""
    at = bisect_left(ends, offset)
    if at == len(chunks) or ends[at] == offset:
        return tuple(chunks[at + 1 :]), offset
    start = ends[at - 1] if at else 0
    if start == offset:
        return tuple(chunks[at:]), offset
    whole, chunk = tuple(chunks[at + 1 :]), chunks[at]
    count, size = boundary_after(*_spelling(chunk), offset - start, parts.tokenizer.piece)
    if count == chunk.count:
        return whole, start + size
    part = replace(chunk, first=chunk.first + count, count=chunk.count - count, text=chunk.text[size:])
    return (part, *whole), start + size


def _spelling(chunk: Chunk) -> tuple[str, tuple[int, ...]]:
    return chunk.text, chunk.unit.tokens[chunk.first :]


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
