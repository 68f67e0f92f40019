"""A composed prompt as spans: which stretches lie where, which are computed, which are left out for now.

Pure: it is told what is known and what things cost. Two layouts of documents: "sequential", one after the
other, and "shared", all from the same base position (APE, arXiv:2502.05431).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from math import ceil

from engine.kv.gate import Repair
from engine.kv.shelf import Stretch
from engine.prompt import Prompt, Segment, Slice
from engine.request import DocumentUse
from engine.runtime.cells import Span
from engine.runtime.idle import NOT_ENCODED
from engine.runtime.together import stands_alone

Find = Callable[[Slice], tuple[Stretch, ...]]
Afford = Callable[[Segment, int], bool]


@dataclass(frozen=True)
class Piece:
    """One stretch of a segment, at its place in the prompt."""

    segment: int
    tokens: tuple[int, ...]
    stretch: Stretch


@dataclass(frozen=True)
class Arrangement:
    """Where everything goes.

    `owners[i]` is the segment of `spans[i]`; `shared` are the documents of that layout. Positions [`start`,
    `end`) are the documents'. `stale` counts approximate tokens, `left_out` tokens by segment.
    """

    spans: tuple[Span, ...]
    owners: tuple[int, ...]
    shared: tuple[Span, ...]
    shared_owners: tuple[int, ...]
    start: int
    end: int
    stale: int
    left_out: dict[int, int]


def pieces(prompt: Prompt, find: Find, afford: Afford) -> tuple[list[Piece], dict[int, int]]:
    """The prompt's stretches in order, and how many tokens of which segments are left out.

    `afford(segment, tokens)` is asked for unknown stretches of documents and of the file's far parts, those
    nearest the cursor first; what it refuses is left out.
    """
    wanted = [_stretches(prompt, segment, find) for segment in prompt.segments]
    refused: set[int] = set()
    for index in reversed(range(len(wanted))):
        unknown = sum(stretch.count for stretch in wanted[index] if stretch.rows is None)
        segment = prompt.segments[index]
        if segment.slice is not None and unknown and not afford(segment, unknown):
            refused.add(index)
    found: list[Piece] = []
    left_out: dict[int, int] = {}
    for index, stretches in enumerate(wanted):
        start = 0
        for stretch in stretches:
            tokens = prompt.segments[index].tokens[start : start + stretch.count]
            start += stretch.count
            if stretch.rows is None and index in refused:
                left_out[index] = left_out.get(index, 0) + stretch.count
            else:
                found.append(Piece(index, tokens, stretch))
    return found, left_out


def arrange(
    prompt: Prompt, found: Sequence[Piece], left_out: dict[int, int], *, repair: Repair, linked: bool
) -> Arrangement:
    """Spans for `found`. With `linked`, each document's first `repair.link_tokens` are computed in place."""
    header = len(prompt.segments[0].tokens)
    documents = [piece for piece in found if _is_document(prompt.segments[piece.segment])]
    shares = repair.layout == "shared" and _all_known(documents)
    spans: list[Span] = []
    owners: list[int] = []
    shared: list[Span] = []
    shared_owners: list[int] = []
    position = header if not shares else _shared_end(prompt, documents, header)
    end = position
    heads = _Heads(repair, linked=linked)
    at: dict[int | None, int] = {}
    for piece in found:
        segment = prompt.segments[piece.segment]
        if piece.segment == 0:
            spans.append(Span(0, piece.tokens))
            owners.append(0)
            continue
        if _is_document(segment):
            if shares:
                place = at.get(segment.document, header)
                shared.append(_span(piece, place, 1 / repair.temperature))
                shared_owners.append(piece.segment)
                at[segment.document] = place + len(piece.tokens)
                continue
            for span in heads.split(segment.document, _span(piece, position, 1 / repair.temperature)):
                spans.append(span)
                owners.append(piece.segment)
            position += len(piece.tokens)
            end = position
            continue
        spans.append(_span(piece, position, 1.0))
        owners.append(piece.segment)
        position += len(piece.tokens)
    stale = sum(piece.stretch.count for piece in found if piece.stretch.rows and not piece.stretch.exact)
    return Arrangement(
        tuple(spans), tuple(owners), tuple(shared), tuple(shared_owners), header, end, stale, left_out
    )


def uses(prompt: Prompt, left_out: dict[int, int], origins: dict[int, set[str]]) -> tuple[DocumentUse, ...]:
    """Each document's use: the costliest of its tokens' origins, and what was left out for now."""
    lost: dict[int, int] = {}
    came: dict[int, set[str]] = {}
    for index, segment in enumerate(prompt.segments):
        if segment.document is not None:
            lost[segment.document] = lost.get(segment.document, 0) + left_out.get(index, 0)
            came.setdefault(segment.document, set()).update(origins.get(index, ()))
    return tuple(_use(use, lost.get(i, 0), came.get(i, set())) for i, use in enumerate(prompt.uses))


def _use(use: DocumentUse, lost: int, came: Iterable[str]) -> DocumentUse:
    if use.origin == "skipped":
        return use
    tokens = use.tokens - lost
    reason = NOT_ENCODED if lost else use.reason
    cut = use.cut_tokens + lost
    if tokens <= 0:
        return replace(use, tokens=0, origin="skipped", cut_tokens=cut, cut_line=None, reason=reason)
    for origin in ("computed", "loaded", "reused"):
        if origin in came:
            return replace(use, tokens=tokens, origin=origin, cut_tokens=cut, reason=reason)
    return replace(use, tokens=tokens, cut_tokens=cut, reason=reason)


class _Heads:
    """The first tokens of each document, which repair computes in place."""

    def __init__(self, repair: Repair, *, linked: bool) -> None:
        self._link = repair.link_tokens if linked else 0
        self._blend = repair.blend
        self._seen: set[int | None] = set()

    def split(self, document: int | None, span: Span) -> list[Span]:
        count = ceil(self._blend * len(span.tokens))
        if document not in self._seen:
            count = max(count, self._link)
        self._seen.add(document)
        if span.rows is None or not count:
            return [span]
        head = Span(span.position, span.tokens[:count])
        rest = replace(
            span, position=head.end, tokens=span.tokens[count:], first=span.first + len(head.tokens)
        )
        return [head, rest] if rest.tokens else [head]


def _stretches(prompt: Prompt, segment: Segment, find: Find) -> tuple[Stretch, ...]:
    if segment.slice is None or stands_alone(prompt, segment):
        return (Stretch(None, 0, len(segment.tokens)),)
    return find(segment.slice)


def _span(piece: Piece, position: int, scale: float) -> Span:
    stretch = piece.stretch
    if stretch.rows is None:
        return Span(position, piece.tokens)
    return Span(position, piece.tokens, stretch.rows, stretch.first, scale)


def _is_document(segment: Segment) -> bool:
    return segment.document is not None


def _all_known(documents: Sequence[Piece]) -> bool:
    return bool(documents) and all(piece.stretch.rows is not None for piece in documents)


def _shared_end(prompt: Prompt, documents: Sequence[Piece], header: int) -> int:
    """The position after the longest document."""
    lengths: dict[int | None, int] = {}
    for piece in documents:
        document = prompt.segments[piece.segment].document
        lengths[document] = lengths.get(document, 0) + len(piece.tokens)
    return header + max(lengths.values(), default=0)
