"""A prompt put together from documents that were encoded one by one; only the text at the cursor is computed.

Approximate: documents did not see each other. How far that is from full attention, per model, is in
docs/kv-reuse.md; engine/kv/gate.py decides where it is used.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.kv.cost import CostModel, Tier, Work
from engine.kv.gate import Repair
from engine.kv.rows import Rows, Shape
from engine.kv.shelf import Shelf
from engine.prompt import Prompt, Segment, Slice, Unit
from engine.request import DocumentUse
from engine.runtime import arrangement, together
from engine.runtime.account import Account, Edges
from engine.runtime.arrangement import Arrangement
from engine.runtime.cells import Cells, Placed, Span
from engine.runtime.context import Context, Logits
from engine.runtime.encode import Encoder
from engine.runtime.looking import placed, places
from engine.runtime.shadow import divergence

# A changed chunk is computed in place up to this many tokens; more is encoded as a unit.
_IN_PLACE_TOKENS = 64
# The line that names a file is worth computing whatever the patience.
_TITLE_TOKENS = 16
_SHELVES = 4
_LEAST_KEPT_TOKENS = 8
_WORK = 1

MakeShelf = Callable[[Sequence[int]], Shelf]


class ComposedTokens:
    """A context with loose positions, kept equal to composed prompts. A `Reuse` (engine/runtime/account.py).

    `make_shelf` gives the rows known behind a header; `room_tokens` is what a prompt and its generation may
    take of the context, whose other cells are the encoder's.
    """

    def __init__(
        self,
        context: Context,
        *,
        make_shelf: MakeShelf,
        shape: Shape,
        cost: CostModel,
        repair: Repair,
        room_tokens: int,
    ) -> None:
        self._context = context
        self._make_shelf = make_shelf
        self._shape = shape
        self._cost = cost
        self._repair = repair
        self._room_tokens = room_tokens
        self._cells = Cells(context)
        self._shelves: OrderedDict[tuple[int, ...], tuple[Shelf, Encoder]] = OrderedDict()
        self._header: tuple[int, ...] = ()
        self._linked: tuple[Span, ...] = ()
        self._warm: tuple[int, ...] = ()
        self._together: tuple[list[str], dict[Unit, Unit]] = ([], {})
        self._known: tuple[tuple[int, ...], Logits] | None = None
        self._places: Sequence[int] = ()

    def run(
        self, prompt: Prompt, account: Account, *, patience_ms: float | None, edges: Edges = None
    ) -> Logits:
        """Make the context hold `prompt`; the logits of its last token. Raises Aborted or EngineError.

        Documents without rows are encoded for as long as `patience_ms` lasts, the most relevant first; what
        is left out then says so in `account.uses`.
        """
        computed = self._cells.computed_tokens
        account.uses = prompt.uses
        encoder = None
        try:
            shelf, encoder = self._behind(prompt.segments[0].tokens)
            patience = _Patience(self._cost, patience_ms, attend=len(prompt.tokens))
            encoded = self._encode_missing(prompt, shelf, encoder, patience, account)
            encoder.release()
            plan = self._plan(prompt, shelf, patience)
            if edges is not None:
                self._places = places(plan, prompt)
                self._context.set_edges(placed(edges, self._places).items())
            return self._lay(prompt, plan, account, shelf, encoded)
        finally:
            account.computed += self._cells.computed_tokens - computed

    def prepare(self, prompt: Prompt, *, edges: Edges = None) -> int:
        """One piece of idle work for `prompt`; how many are left. Raises Aborted.

        In this order: units that nothing is known of are encoded, the prompt is laid out, units known from
        another version of their text are encoded anew, and documents behind each other.
        """
        shelf, encoder = self._behind(prompt.segments[0].tokens)
        inexact = [unit for unit in prompt.units if not shelf.has(unit)]
        unknown = [unit for unit in inexact if not _covered(shelf, unit)]
        if not unknown and self._warm != prompt.tokens:
            encoder.release()
            self._link(prompt, shelf)
            self.run(prompt, Account(), patience_ms=0.0, edges=edges)
            self._warm = prompt.tokens
            return len(inexact) + len(together.missing(shelf, self._twins(prompt)))
        strangers = together.missing(shelf, self._twins(prompt))
        for unit in (*unknown, *inexact, *strangers)[:1]:
            first = encoder.pending(unit)[0]
            encoder.encode(first, edited=first.name in _edited(prompt))
            if not inexact and len(strangers) == 1:
                self._warm = ()
        left = len(inexact) + len(strangers) - 1 + (self._warm != prompt.tokens)
        if left <= 0:
            encoder.release()
        return max(0, left)

    def _twins(self, prompt: Prompt) -> dict[Unit, Unit]:
        if not self._repair.together or self._repair.layout == "shared":
            return {}
        units = [s.slice.unit.digest for s in prompt.segments if s.kind != "suffix" and s.slice is not None]
        if self._together[0] != units:
            self._together = units, together.twins(prompt)
        return self._together[1]

    def positions(self, prompt: Prompt) -> Sequence[int]:
        """Where each token of `prompt`, which was run last and with edges, lies; -1 for those left out."""
        return self._places

    @property
    def end(self) -> int:
        """The position of the token that is appended next."""
        return self._cells.end

    def room(self) -> int:
        """How many tokens may still be appended."""
        return self._room_tokens - self._cells.held_tokens

    def append(self, tokens: Sequence[int]) -> None:
        """Run `tokens` behind the others."""
        self._cells.append(tokens)

    def extend(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        """As `append`; the logits behind each token, float32 [len(tokens), vocabulary]."""
        self._cells.append(tokens, all_outputs=True)
        return self._context.logits_rows()

    def rewind(self, count: int) -> None:
        """Take back the last `count` tokens."""
        self._cells.truncate(self._cells.end - count)

    def logits(self) -> Logits:
        """Logits behind the last token, float32 [vocabulary]; a view."""
        return self._context.logits()

    def against_full(self, prompt: Prompt, *, edges: Edges = None) -> float | None:
        """KL in nats of full attention's next token to that of the last `run`, which must be of `prompt`.

        Computes all of the prompt; None when that does not fit beside it. Raises Aborted.
        """
        tokens = prompt.tokens
        if self._known is None or self._known[0] != tokens or self._context.free_tokens < len(tokens):
            return None
        self._bias(0, 0, 0.0)
        try:
            if edges is not None:
                self._context.set_edges(edges.items(), sequence=_WORK)
            size = self._context.batch_tokens
            for start in range(0, len(tokens), size):
                self._context.decode(tokens[start : start + size], start, sequence=_WORK)
            return divergence(self._context.logits(), self._known[1])
        finally:
            self._context.remove(0, sequence=_WORK)
            if edges is not None:
                self._context.set_edges((), sequence=_WORK)

    def known(self, prompt: Prompt) -> tuple[DocumentUse, ...]:
        """The prompt's documents; those whose rows are all known have the origin "loaded"."""
        shelf = self._shelf(prompt.segments[0].tokens)[0]
        missing = {
            segment.document
            for segment in prompt.segments
            if segment.document is not None
            and segment.slice is not None
            and not shelf.has(segment.slice.unit)
        }
        return tuple(
            use if use.origin == "skipped" or index in missing else replace(use, origin="loaded")
            for index, use in enumerate(prompt.uses)
        )

    def status(self) -> dict[str, Any]:
        """For people."""
        return {"from_disk": sum(shelf.from_disk for shelf, _ in self._shelves.values())}

    def _shelf(self, header: tuple[int, ...]) -> tuple[Shelf, Encoder]:
        found = self._shelves.get(header)
        if found is None:
            shelf = self._make_shelf(header)
            encoder = Encoder(self._context, shelf, header_tokens=len(header), shape=self._shape)
            found = self._shelves[header] = shelf, encoder
        self._shelves.move_to_end(header)
        while len(self._shelves) > _SHELVES:
            self._shelves.popitem(last=False)
        return found

    def _bias(self, start: int, end: int, bias: float) -> None:
        """Set what holds for every sequence of the context; nothing to do without a bias."""
        if self._repair.bias:
            self._context.set_bias(start, end, bias)

    def _behind(self, header: tuple[int, ...]) -> tuple[Shelf, Encoder]:
        """The shelf and the encoder of a header, which lies in the cells afterwards, computed on its own."""
        self._bias(0, 0, 0.0)
        if header != self._header or self._cells.read(0, len(header)) is None:
            if self._header in self._shelves:
                self._shelves[self._header][1].release()
            self._cells.clear()
            self._forget()
            self._cells.compute([Span(0, header)], outputs=False)
            self._header = header
        return self._shelf(header)

    def _forget(self) -> None:
        self._header, self._linked, self._warm, self._known = (), (), (), None

    def _encode_missing(
        self, prompt: Prompt, shelf: Shelf, encoder: Encoder, patience: _Patience, account: Account
    ) -> set[Unit]:
        """Encode the documents' units that nothing is known of, the most relevant first; which they were."""
        encoded: set[Unit] = set()
        find = together.finding(shelf, self._twins(prompt))
        for segment in reversed(prompt.segments):
            if segment.document is None or segment.slice is None:
                continue
            known = sum(stretch.count for stretch in find(segment.slice) if stretch.rows is not None)
            if known and len(segment.tokens) - known <= _IN_PLACE_TOKENS:
                continue
            pending = encoder.pending(segment.slice.unit)
            if not patience.allows(sum(len(unit.tokens) for unit in pending)):
                continue
            for unit in pending:
                account.computed += encoder.encode(unit)
                encoded.add(unit)
        return encoded

    def _plan(self, prompt: Prompt, shelf: Shelf, patience: _Patience) -> Arrangement:
        def afford(segment: Segment, tokens: int) -> bool:
            gap = segment.document is not None and tokens < len(segment.tokens)
            return patience.allows(tokens, small=_IN_PLACE_TOKENS if gap else _TITLE_TOKENS)

        attend = len(prompt.tokens)

        def loads(tier: Tier, tokens: int) -> bool:
            size = tokens * self._shape.row_bytes("f16")
            choice = self._cost.choose(tokens=tokens, attend=attend, size=size, tier=tier)
            return choice.decision == "load"

        find = together.finding(shelf, self._twins(prompt), loads=loads)
        found, left_out = arrangement.pieces(prompt, find, afford)
        plain = arrangement.arrange(prompt, found, left_out, repair=self._repair, linked=False)
        if self._repair.link_tokens and self._linked == _documents(plain, prompt):
            return arrangement.arrange(prompt, found, left_out, repair=self._repair, linked=True)
        return plain

    def _lay(
        self, prompt: Prompt, plan: Arrangement, account: Account, shelf: Shelf, encoded: set[Unit]
    ) -> Logits:
        """Bring the cells into the planned order and compute what is missing."""
        started = time.perf_counter()
        placed = self._cells.arrange(plan.spans, shared=plan.shared)
        missing = list(placed.missing)
        account.load_ms = (time.perf_counter() - started) * 1000
        total = sum(len(span.tokens) for span in (*plan.spans, *plan.shared))
        account.reused = total - placed.loaded_tokens - sum(len(span.tokens) for span in missing)
        fresh = {i for i, s in enumerate(prompt.segments) if s.slice is not None and s.slice.unit in encoded}
        placed_fresh = sum(len(prompt.segments[index].tokens) for index in fresh)
        account.loaded, account.moved = max(0, placed.loaded_tokens - placed_fresh), plan.stale
        account.uses = arrangement.uses(prompt, plan.left_out, _origins(plan, placed, fresh))
        account.work = self._work(placed, total, account)
        account.predicted_ms = self._cost.predict(account.work)
        self._bias(plan.start, plan.end, self._repair.bias)
        if not missing:
            if self._known is not None and self._known[0] == prompt.tokens and not placed.loaded_tokens:
                return self._known[1]
            missing = [self._last(plan.spans[-1])]
        self._cells.compute(missing)
        self._keep_computed(prompt, plan, shelf)
        self._known = prompt.tokens, self._context.logits().copy()
        return self._known[1]

    def _last(self, span: Span) -> Span:
        """The prompt's last token, to be computed again for its logits."""
        self._cells.truncate(span.end - 1)
        return Span(span.end - 1, span.tokens[-1:])

    def _work(self, placed: Placed, total: int, account: Account) -> Work:
        missing = sum(len(span.tokens) for span in placed.missing)
        return Work(
            compute_tokens=max(1, missing) + account.computed,
            attend_tokens=total - missing,
            load_bytes_ram=placed.loaded_tokens * self._shape.row_bytes("f16"),
            rotate_tokens=placed.loaded_tokens,
        )

    def _keep_computed(self, prompt: Prompt, plan: Arrangement, shelf: Shelf) -> None:
        """Shelve stretches of the edited file that were computed in place, for when they move."""
        for span, owner in zip(plan.spans, plan.owners, strict=True):
            segment = prompt.segments[owner]
            if segment.slice is None or span.rows is not None or len(span.tokens) < _LEAST_KEPT_TOKENS:
                continue
            if segment.document is not None or self._cells.read(span.position, span.end) is None:
                continue
            data = self._context.read(span.position, span.end)
            rows = Rows(data, len(span.tokens), span.position, "f16", self._shape)
            shelf.keep(segment.slice.unit.name, span.tokens, rows, compute_ms=0.0)

    def _link(self, prompt: Prompt, shelf: Shelf) -> None:
        """LegoLink (EPIC, arXiv:2410.15332): compute each document's first tokens behind the others."""
        count = self._repair.link_tokens
        plan = self._plan(prompt, shelf, _Patience(self._cost, 0.0, attend=0))
        documents = _documents(plan, prompt)
        if not count or not documents or self._linked == documents:
            return
        self._cells.arrange(plan.spans[: 1 + len(documents)], shared=plan.shared)
        heads = [Span(span.position, span.tokens[:count]) for span in _firsts(plan, prompt)]
        self._linked = ()
        self._cells.again(heads)
        self._linked = documents


class _Patience:
    """How long unknown tokens may still delay the first one."""

    def __init__(self, cost: CostModel, patience_ms: float | None, *, attend: int) -> None:
        self._cost = cost
        self._left_ms = patience_ms
        self._attend = attend

    def allows(self, tokens: int, *, small: int = 0) -> bool:
        """Whether `tokens` may be computed now; takes their time off what is left. `small` always may."""
        if self._left_ms is None or tokens <= small:
            return True
        ms = self._cost.predict(Work(compute_tokens=tokens, attend_tokens=self._attend))
        if ms > self._left_ms:
            return False
        self._left_ms -= ms
        return True


def _edited(prompt: Prompt) -> set[str]:
    """Names of the units of the file that is being edited."""
    return {s.slice.unit.name for s in prompt.segments if s.slice is not None and s.document is None}


def _covered(shelf: Shelf, unit: Unit) -> bool:
    """Whether another version of the unit's text leaves little of it to compute."""
    unknown = sum(s.count for s in shelf.find(Slice(unit, 0, len(unit.tokens))) if s.rows is None)
    return unknown <= _IN_PLACE_TOKENS and unknown < len(unit.tokens)


def _documents(plan: Arrangement, prompt: Prompt) -> tuple[Span, ...]:
    pairs = zip(plan.spans, plan.owners, strict=True)
    return tuple(span for span, owner in pairs if prompt.segments[owner].document is not None)


def _firsts(plan: Arrangement, prompt: Prompt) -> list[Span]:
    """The first span of each document."""
    first: dict[int, Span] = {}
    for span, owner in zip(plan.spans, plan.owners, strict=True):
        document = prompt.segments[owner].document
        if document is not None and span.rows is not None:
            first.setdefault(document, span)
    return list(first.values())


def _origins(plan: Arrangement, placed: Placed, fresh: set[int]) -> dict[int, set[str]]:
    """Where each segment's tokens came from; those of `fresh` segments were encoded for this request."""
    origins: dict[int, set[str]] = {index: {"computed"} for index in fresh}
    for span, owner, stayed in zip(plan.spans, plan.owners, placed.stayed, strict=True):
        came = "reused" if stayed else "computed" if span.rows is None else "loaded"
        origins.setdefault(owner, set()).add(came)
    for owner in plan.shared_owners:
        origins.setdefault(owner, set()).add("reused" if placed.shared_stayed else "loaded")
    return origins
