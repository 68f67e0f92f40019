"""What lies in a context's cells: stretches of tokens at positions, placed from rows or computed in place.

The cells of sequence 0 are kept equal to a wanted arrangement with the least work: what already lies at its
place stays, what is known elsewhere is written there (rotated to its position while it is written), and the
rest is computed, all at once.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

import numpy as np

from engine.kv.rows import Rows
from engine.runtime.context import Context

_MAIN = 0


@dataclass(frozen=True)
class Span:
    """`tokens` from `position` on: rows [first, first + len(tokens)) of `rows`, or computed in place (None).

    `scale` multiplies the keys (an attention temperature of 1 / `scale`).
    """

    position: int
    tokens: tuple[int, ...]
    rows: Rows | None = None
    first: int = 0
    scale: float = 1.0

    @property
    def end(self) -> int:
        """The position after the last token."""
        return self.position + len(self.tokens)


@dataclass(frozen=True)
class Placed:
    """What `Cells.arrange` did.

    Per span whether all of it stayed, whether the shared ones did, how many tokens were written from rows,
    and what is to be computed.
    """

    stayed: tuple[bool, ...]
    shared_stayed: bool
    loaded_tokens: int
    missing: tuple[Span, ...]


class Cells:
    """Sequence 0 of a context with loose positions, as spans."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._held: list[Span] = []
        self._shared: tuple[Span, ...] = ()
        # The token at each position, -1 for none; without the shared ones, which lie over each other.
        self._text = np.full(context.context_tokens, -1, np.int32)
        self.computed_tokens = 0

    @property
    def end(self) -> int:
        """The position after the last one held."""
        return max((span.end for span in (*self._held, *self._shared)), default=0)

    @property
    def held_tokens(self) -> int:
        """How many cells are taken."""
        return sum(len(span.tokens) for span in (*self._held, *self._shared))

    def arrange(self, wanted: Sequence[Span], *, shared: Sequence[Span] = ()) -> Placed:
        """Make everything with rows lie where `wanted` (in order of position) has it; drop what it has not.

        Computed tokens stay while all that stands before them is the same text at the same positions.
        `shared` are spans with rows that may lie over each other; they come before the gap that `wanted`
        leaves for them, and are all written when one of them changes.
        """
        behind = min((span.position for span in (*self._shared, *shared)), default=0)
        kept_shared = self._share(tuple(shared))
        rewritten = 0 if kept_shared else sum(len(span.tokens) for span in shared)
        same = True
        before = {span.position: span for span in self._held}
        stay: list[Span] = []
        stayed: list[bool] = []
        missing: list[Span] = []
        write: list[Span] = []
        for span in wanted:
            same = same and (kept_shared or span.position < behind)
            unchanged = same and self._reads(span)
            if span.rows is not None:
                kept = self._kept(before.get(span.position), span, unchanged)
                stayed.append(kept is not None)
                (write if kept is None else stay).append(kept or span)
                same = unchanged
                continue
            count = self._common(span) if same else 0
            same = count == len(span.tokens)
            stayed.append(same)
            if count:
                stay.append(replace(span, tokens=span.tokens[:count]))
            if not same:
                missing.append(Span(span.position + count, span.tokens[count:]))
        self._keep(stay)
        for span in write:
            self._write(span)
            self._insert(span)
        loaded = rewritten + sum(len(span.tokens) for span in write)
        return Placed(tuple(stayed), kept_shared, loaded, tuple(missing))

    def compute(self, spans: Sequence[Span], *, outputs: bool = True) -> None:
        """Run the model over `spans` (in order of position). Raises Aborted or EngineError; then what was not
        finished is not held.
        """
        tokens = [token for span in spans for token in span.tokens]
        positions = [span.position + index for span in spans for index in range(len(span.tokens))]
        size = self._context.batch_tokens
        for start in range(0, len(tokens), size):
            end = min(len(tokens), start + size)
            last = outputs and end == len(tokens)
            self._decode(tokens[start:end], positions[start:end], last=last)

    def again(self, spans: Sequence[Span]) -> None:
        """Compute tokens that are held already again, behind all that stands before them now."""
        for span in spans:
            self._context.remove(span.position, span.end)
            self._carve(span.position, span.end)
        self.compute(spans, outputs=False)

    def append(self, tokens: Sequence[int], *, all_outputs: bool = False) -> None:
        """Run `tokens` after everything held."""
        position = self.end
        try:
            self._context.decode(tokens, position, outputs="all" if all_outputs else "last")
        except BaseException:
            self._drop_from(position)
            raise
        self.computed_tokens += len(tokens)
        self._hold(Span(position, tuple(tokens)))

    def truncate(self, position: int) -> None:
        """Drop everything from `position` on."""
        if (self._text[position:] >= 0).any():
            self._context.remove(position)
            self._drop_from(position)

    def read(self, start: int, end: int) -> Span | None:
        """The computed span that holds positions [start, end); None when no single one does."""
        index = bisect_left(self._held, start + 1, key=lambda span: span.position) - 1
        held = self._held[index] if index >= 0 else None
        return held if held and held.rows is None and held.end >= end else None

    def clear(self) -> None:
        """Forget everything, in the context too."""
        self._context.clear()
        self._held, self._shared = [], ()
        self._text[:] = -1

    def _decode(self, tokens: list[int], positions: list[int], *, last: bool) -> None:
        try:
            self._context.decode(tokens, positions, outputs="last" if last else "none")
        except BaseException:
            # llama.cpp drops the sequence's cells from the failed batch's first position on.
            if not self._context.closed:
                self._context.remove(positions[0])
            self._drop_from(positions[0])
            raise
        self.computed_tokens += len(tokens)
        for start, end in _runs(positions):
            self._hold(Span(positions[start], tuple(tokens[start:end])))

    def _hold(self, span: Span) -> None:
        held = self._held
        index = bisect_left(held, span.position, key=lambda other: other.position)
        before = held[index - 1] if index else None
        if before is not None and before.rows is None and before.end == span.position:
            held[index - 1] = Span(before.position, before.tokens + span.tokens)
        else:
            held.insert(index, span)
        self._text[span.position : span.end] = span.tokens

    def _insert(self, span: Span) -> None:
        index = bisect_left(self._held, span.position, key=lambda other: other.position)
        self._held.insert(index, span)
        self._text[span.position : span.end] = span.tokens

    def _share(self, shared: tuple[Span, ...]) -> bool:
        """Whether exactly `shared` was there already; it is afterwards."""
        held = self._shared
        if len(held) == len(shared) and all(map(_same, held, shared)):
            return True
        if held:
            self._context.remove(min(s.position for s in held), max(s.end for s in held))
        self._shared = ()
        if shared:
            self._truncate_between(min(s.position for s in shared), max(s.end for s in shared))
        for span in shared:
            self._write(span)
        self._shared = shared
        return False

    def _truncate_between(self, start: int, end: int) -> None:
        if any(span.end > start and span.position < end for span in self._held):
            self._context.remove(start, end)
            self._carve(start, end)

    def _reads(self, span: Span) -> bool:
        """Whether the span's tokens lie at its positions already, from wherever they came."""
        return bool(np.array_equal(self._text[span.position : span.end], span.tokens))

    def _kept(self, held: Span | None, span: Span, unchanged: bool) -> Span | None:
        """What serves the span: the same rows, or the same tokens computed behind the same text."""
        if _same(held, span):
            return held
        computed = self.read(span.position, span.end) if unchanged else None
        return replace(span, rows=None, first=0, scale=1.0) if computed is not None else None

    def _common(self, span: Span) -> int:
        """How many of the span's first tokens are held, computed, at their positions."""
        held = self.read(span.position, span.position + 1)
        if held is None:
            return 0
        pairs = zip(held.tokens[span.position - held.position :], span.tokens, strict=False)
        return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))

    def _keep(self, stay: Sequence[Span]) -> None:
        """Remove every position that no span of `stay` (in order) holds."""
        starts = [0, *(span.end for span in stay)]
        ends = [*(span.position for span in stay), len(self._text)]
        for start, end in zip(starts, ends, strict=True):
            if (self._text[start:end] >= 0).any():
                self._clear_positions(start, end)
        self._held = _joined(stay)

    def _clear_positions(self, start: int, end: int) -> None:
        """Remove the positions that are held in [start, end), not the shared ones in between."""
        held = np.flatnonzero(self._text[start:end] >= 0) + start
        for first, last in _runs(held.tolist()):
            self._context.remove(int(held[first]), int(held[last - 1]) + 1)
        self._text[start:end] = -1

    def _write(self, span: Span) -> None:
        rows = span.rows
        assert rows is not None
        self._context.write(
            rows.data,
            total=rows.tokens,
            first=span.first,
            count=len(span.tokens),
            position=span.position,
            delta=span.position - (rows.base + span.first),
            kind=rows.kind,
            k_scale=span.scale,
        )

    def _carve(self, start: int, end: int) -> None:
        """Take positions [start, end) out of the held spans."""
        pieces: list[Span] = []
        for span in self._held:
            if span.end <= start or span.position >= end:
                pieces.append(span)
                continue
            if span.position < start:
                pieces.append(replace(span, tokens=span.tokens[: start - span.position]))
            if span.end > end:
                cut = end - span.position
                pieces.append(replace(span, position=end, tokens=span.tokens[cut:], first=span.first + cut))
        self._held = pieces
        self._text[start:end] = -1

    def _drop_from(self, position: int) -> None:
        self._carve(position, 1 << 31)


def _same(held: Span | None, span: Span) -> bool:
    return (
        held is not None
        and held.rows is span.rows
        and (held.first, held.scale, held.tokens) == (span.first, span.scale, span.tokens)
    )


def _joined(spans: Sequence[Span]) -> list[Span]:
    """Spans in order, computed neighbours as one."""
    joined: list[Span] = []
    for span in spans:
        last = joined[-1] if joined else None
        if last and last.rows is None and span.rows is None and last.end == span.position:
            joined[-1] = Span(last.position, last.tokens + span.tokens)
        else:
            joined.append(span)
    return joined


def _runs(positions: Sequence[int]) -> list[tuple[int, int]]:
    """Index ranges of consecutive positions."""
    cuts = [i for i in range(1, len(positions)) if positions[i] != positions[i - 1] + 1]
    return list(zip([0, *cuts], [*cuts, len(positions)], strict=True))
