"""Which chunks take part in a composed prompt, and which are to be encoded first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import zip_longest
from typing import overload

from engine.kv import select
from engine.kv.select import Candidate
from engine.prompt import budget
from engine.prompt.edited import Edited
from engine.prompt.prompt import Unit
from engine.prompt.units import Chunk, Units
from engine.request import Request

# `Prompt.units` ends after about so many tokens: ten minutes of idle time on two cores.
IDLE_TOKENS = 1 << 16
_NEAR_STEP_TOKENS = 64
_QUERY_LINES = 24, 8


@dataclass(frozen=True)
class Chosen:
    """Indices of the chunks that take part: of each document, and before and behind the cursor."""

    documents: Sequence[tuple[int, ...]]
    before: tuple[int, ...] = ()
    after: tuple[int, ...] = ()

    def tokens(self, documents: Sequence[Units], file: Edited) -> int:
        """Tokens of all of it."""
        placed = sum(placed_tokens(*pair) for pair in zip(documents, self.documents, strict=True))
        sides = (file.before, self.before), (file.after, self.after)
        return placed + sum(chunks[index].count for chunks, indices in sides for index in indices)


def near_steps(tokens: int) -> int:
    """What `tokens` computed in place count as: typing a character changes it seldom."""
    return -(-tokens // _NEAR_STEP_TOKENS) * _NEAR_STEP_TOKENS


def choose(request: Request, documents: Sequence[Units], file: Edited, *, room: int, near: int) -> Chosen:
    """The chunks for `room` tokens, of which `near` are computed in place: those are counted in steps.

    The file's chunks nearest the cursor come first, up to `request.file_tokens` or what documents leave, at
    least half; then documents, the most relevant first.
    """
    near = near_steps(near)
    room = max(0, room - near)
    before, after = ([chunk.count for chunk in side] for side in (file.before, file.after))
    wanted = sum(units.tokens for units in documents)
    allowed = wanted if request.document_tokens is None else min(wanted, request.document_tokens)
    share = max(room - allowed, int(room * budget.FILE_SHARE))
    if request.file_tokens is not None:
        share = min(share, max(0, request.file_tokens - near))
    taken = select.around(before, after, share)
    spent = sum(before[: taken[0]]) + sum(after[: taken[1]])
    if spent + allowed > room:  # in steps, so that a file that grows moves no cut of a document
        spent = min(room, -(-spent // budget.STEP_TOKENS) * budget.STEP_TOKENS)
    chosen = _documents(documents, file, min(allowed, room - spent))
    return Chosen(chosen, tuple(range(taken[0])), tuple(range(taken[1])))


def with_relevant(chosen: Chosen, file: Edited, room: int) -> Chosen:
    """Add far chunks of the file that speak of what is around the cursor, to at most `room` tokens."""
    room = max(0, room) // budget.STEP_TOKENS * budget.STEP_TOKENS
    counts = len(chosen.before), len(chosen.after)
    far = [*file.before[counts[0] :], *file.after[counts[1] :]]
    if not far or not room:
        return chosen
    left = len(file.before) - counts[0]
    offered = [Candidate(chunk.count, chunk.text) for chunk in far]
    found = select.relevant(offered, room, file.around_line(*_QUERY_LINES), alike=True)
    before = (counts[0] + at for at in found if at < left)
    after = (counts[1] + at - left for at in found if at >= left)
    return replace(chosen, before=(*chosen.before, *before), after=(*chosen.after, *after))


def placed_tokens(units: Units, chosen: Sequence[int]) -> int:
    """Tokens of the chosen chunks of a document, with its title."""
    text = sum(units.chunks[index].count for index in chosen)
    return text + (units.title_tokens if chosen else 0)


def _documents(documents: Sequence[Units], file: Edited, room: int) -> list[tuple[int, ...]]:
    if sum(units.tokens for units in documents) <= room:
        return [tuple(range(len(units.chunks))) for units in documents]
    titles = [units.title_tokens for units in documents]
    offered = [units.candidates for units in documents]
    return select.documents(offered, room, file.around_line(*_QUERY_LINES), titles=titles)


class Urgent(Sequence[Unit]):
    """Every unit once: what takes part, the most relevant document first, then the file; then the rest.

    Put in order when it is asked for, which a suggestion does not.
    """

    def __init__(self, documents: Sequence[Units], file: Edited, chosen: Chosen) -> None:
        self._documents = documents
        self._file = file
        self._chosen = chosen

    def __len__(self) -> int:
        return len(self._units)

    @overload
    def __getitem__(self, index: int) -> Unit: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Unit]: ...
    def __getitem__(self, index: int | slice) -> Unit | Sequence[Unit]:
        return self._units[index]

    @cached_property
    def _units(self) -> tuple[Unit, ...]:
        found: dict[Unit, None] = {}
        tokens = 0
        for unit in self._ordered():
            if tokens > IDLE_TOKENS:
                break
            if unit not in found:
                found[unit] = None
                tokens += len(unit.tokens)
        return tuple(found)

    def _ordered(self) -> Iterator[Unit]:
        for units, indices in reversed(list(zip(self._documents, self._chosen.documents, strict=True))):
            yield from (units.chunks[at].unit for at in indices)
        before, after = self._file.before, self._file.after
        yield from _alternating(
            [before[i] for i in self._chosen.before], [after[i] for i in self._chosen.after]
        )
        for units in reversed(self._documents):
            yield from (chunk.unit for chunk in units.chunks)
        yield from _alternating(before, after)
        yield from (chunk.unit for chunk in self._file.units.chunks)


def _alternating(before: Sequence[Chunk], after: Sequence[Chunk]) -> Iterator[Unit]:
    for pair in zip_longest(before, after):
        yield from (chunk.unit for chunk in pair if chunk is not None)
