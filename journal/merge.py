"""Three-way merge of journals, cell by cell: by id, then by content, then line by line within a cell.

Nothing is dropped: where both sides changed the same lines, or one changed what the other removed, the result
has a conflict cell with both. Chunks are found as diff3 does (Khanna, Kunal, Pierce: "A Formal Investigation
of Diff3").
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Generic, TypeVar

from journal.cells import Cell
from journal.lines import newline_of
from journal.scan import BOM, LINE

if TYPE_CHECKING:
    from journal.document import Journal

Item = TypeVar("Item")
_BLANK = b" \t\r\n"


@dataclass(frozen=True, slots=True)
class Chunk(Generic[Item]):
    """What stands between two places that all three versions share; `stable`: one item all have."""

    base: Sequence[Item]
    ours: Sequence[Item]
    theirs: Sequence[Item]
    stable: bool = False


def merge(base: Journal, ours: Journal, theirs: Journal) -> Journal:
    """Both sides' changes to `base`, with conflict cells where they contradict each other."""
    if theirs.data in (base.data, ours.data):
        return ours
    if ours.data == base.data:
        return theirs
    if BOM in (version.data[:3] for version in (base, ours, theirs)):
        bare = (type(ours).parse(version.data.removeprefix(BOM)) for version in (base, ours, theirs))
        return type(ours).parse(BOM + _merged(*bare))
    return type(ours).parse(_merged(base, ours, theirs))


def _merged(base: Journal, ours: Journal, theirs: Journal) -> bytes:
    newline = newline_of(ours.data, theirs.data)
    merged: list[bytes] = []
    for chunk in _chunks(base.cells, ours.cells, theirs.cells, _identity):
        merged += _merge_cells(chunk, newline)
    return _joined(merged, newline)


def _identity(cell: Cell) -> tuple[str, str]:
    return ("id", cell.id) if cell.id and cell.key == cell.id else (cell.kind, cell.key)


def _merge_cells(chunk: Chunk[Cell], newline: bytes) -> list[bytes]:
    base, ours, theirs = ([cell.raw for cell in side] for side in (chunk.base, chunk.ours, chunk.theirs))
    if _same(ours, theirs) or _same(theirs, base):
        return ours
    if _same(ours, base):
        return theirs
    if chunk.stable:
        return [_merge_lines(base[0], ours[0], theirs[0], newline)]
    if not base and _can_stand_together(chunk.ours, chunk.theirs):
        return [*ours, *theirs]
    return [_conflict(_joined(base, newline), _joined(ours, newline), _joined(theirs, newline), newline)]


def _same(left: Sequence[bytes], right: Sequence[bytes]) -> bool:
    """Equal but for blank lines around cells."""
    return len(left) == len(right) and all(
        one == other or one.strip(_BLANK) == other.strip(_BLANK)
        for one, other in zip(left, right, strict=True)
    )


def _can_stand_together(ours: Sequence[Cell], theirs: Sequence[Cell]) -> bool:
    """Whether cells that both sides added at one place can simply follow each other."""
    ids = {cell.id for cell in ours if cell.id}
    whole = all(
        cell.closed and cell.kind not in ("conflict", "unknown", "front") for cell in [*ours, *theirs]
    )
    return whole and not any(cell.id in ids for cell in theirs)


def _merge_lines(base: bytes, ours: bytes, theirs: bytes, newline: bytes) -> bytes:
    """One cell that both sides changed: by lines if they changed different ones, else as a conflict."""
    merged: list[bytes] = []
    old, left, right = (LINE.findall(side)[:-1] for side in (base, ours, theirs))
    for chunk in _chunks(old, left, right, bytes):
        if chunk.ours == chunk.theirs or chunk.theirs == chunk.base:
            merged += chunk.ours
        elif chunk.ours == chunk.base:
            merged += chunk.theirs
        else:
            return _conflict(base, ours, theirs, newline)
    return _joined(merged, newline)


def _conflict(base: bytes, ours: bytes, theirs: bytes, newline: bytes) -> bytes:
    """Both sides between markers, as git writes them in diff3 style."""
    parts = [(b"<<<<<<< ours", ours), (b"||||||| base", base), (b"=======", theirs)]
    lines = [part for mark, side in parts for part in (mark + newline, _ended(side, newline))]
    return b"".join([*lines, b">>>>>>> theirs", newline])


def _ended(data: bytes, newline: bytes) -> bytes:
    return data if not data or data.endswith((b"\r", b"\n")) else data + newline


def _joined(parts: Sequence[bytes], newline: bytes) -> bytes:
    """`parts` one behind the other, each beginning on a line of its own."""
    filled = [part for part in parts if part]
    return b"".join([*(_ended(part, newline) for part in filled[:-1]), *filled[-1:]])


def _chunks(
    base: Sequence[Item], ours: Sequence[Item], theirs: Sequence[Item], key: Callable[[Item], object]
) -> Iterator[Chunk[Item]]:
    """The three sequences cut wherever an item of `base` is in both others; together they are everything."""
    in_ours, in_theirs = _matches(base, ours, key), _matches(base, theirs, key)
    b = o = t = 0
    for index in range(len(base)):
        if index not in in_ours or index not in in_theirs:
            continue
        if (index, in_ours[index], in_theirs[index]) != (b, o, t):
            yield Chunk(base[b:index], ours[o : in_ours[index]], theirs[t : in_theirs[index]])
        b, o, t = index + 1, in_ours[index] + 1, in_theirs[index] + 1
        yield Chunk(base[b - 1 : b], ours[o - 1 : o], theirs[t - 1 : t], stable=True)
    yield Chunk(base[b:], ours[o:], theirs[t:])


def _matches(base: Sequence[Item], other: Sequence[Item], key: Callable[[Item], object]) -> dict[int, int]:
    """For items of `base`, the index of the same item in `other`; rising in both."""
    matcher = SequenceMatcher(
        None, [key(item) for item in base], [key(item) for item in other], autojunk=False
    )
    return {
        block.a + offset: block.b + offset
        for block in matcher.get_matching_blocks()
        for offset in range(block.size)
    }
