"""Documents encoded alone: each unit behind the header and the earlier units of its own document."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from engine.kv.rows import Rows, Shape
from engine.kv.shelf import Shelf, window
from engine.prompt import Slice, Unit
from engine.runtime.context import Context

_MAIN, _WORK = 0, 1


@dataclass
class _Bench:
    """What lies in the working sequence behind the header: units of one document, in order."""

    units: list[Unit] = field(default_factory=list)


class Encoder:
    """Encodes units in a sequence of their own, which shares the header's cells with sequence 0.

    The header must lie at positions [0, header_tokens) of sequence 0.
    """

    def __init__(self, context: Context, shelf: Shelf, *, header_tokens: int, shape: Shape) -> None:
        self._context = context
        self._shelf = shelf
        self._header_tokens = header_tokens
        self._shape = shape
        self._bench = _Bench()

    def pending(self, unit: Unit) -> list[Unit]:
        """The units to encode before this one's rows are known: it and its chain, earliest first."""
        found: list[Unit] = []
        link: Unit | None = unit
        while link is not None and not self._shelf.has(link):
            found.append(link)
            link = link.previous
        return found[::-1]

    def encode(self, unit: Unit, *, edited: bool = False) -> int:
        """Encode the unit, whose chain must be known, and put its rows on the shelf. Returns tokens computed.

        `edited`: it belongs to the file that is being edited.
        Raises Aborted: nothing is kept then; and EngineError.
        """
        started = time.perf_counter()
        base, count = self._shelf.base(unit), len(unit.tokens)
        try:
            self._lay_out(unit)
            known = self._place_head(unit)
            size = self._context.batch_tokens
            for start in range(known, count, size):
                tokens = unit.tokens[start : start + size]
                positions = range(base + start, base + start + len(tokens))
                self._context.decode(tokens, positions, sequence=_WORK, outputs="none")
            data = self._context.read(base, base + count, sequence=_WORK)
        except BaseException:
            self.release()
            raise
        self._bench.units.append(unit)
        rows = Rows(data=data, tokens=count, base=base, kind="f16", shape=self._shape)
        self._shelf.put(unit, rows, compute_ms=(time.perf_counter() - started) * 1000, edited=edited)
        return count - known

    def release(self) -> None:
        """Give the working sequence's cells back."""
        if not self._context.closed:
            self._context.remove(0, sequence=_WORK)
        self._bench = _Bench()

    def _lay_out(self, unit: Unit) -> None:
        """The header and the chain's last CHAIN_TOKENS in the working sequence."""
        chain = window(unit)
        if self._bench.units and self._bench.units == chain:
            return
        self.release()
        self._context.copy(_MAIN, _WORK, 0, self._header_tokens)
        for link in chain:
            rows = self._shelf.exact(link)
            if rows is None:
                raise KeyError(f"the chain of {unit.name} is not encoded")
            self._write(rows, 0, len(link.tokens), self._shelf.base(link))
        self._bench.units = chain

    def _place_head(self, unit: Unit) -> int:
        """Put there what an earlier version has exactly; returns its tokens."""
        head = self._shelf.find(Slice(unit, 0, len(unit.tokens)))[0]
        if head.rows is None or not head.exact or head.count >= len(unit.tokens):
            return 0
        count = head.count - head.count % self._context.batch_tokens
        if count:
            self._write(head.rows, head.first, count, self._shelf.base(unit))
        return count

    def _write(self, rows: Rows, first: int, count: int, position: int) -> None:
        self._context.write(
            rows.data,
            total=rows.tokens,
            first=first,
            count=count,
            position=position,
            delta=position - (rows.base + first),
            sequence=_WORK,
            kind=rows.kind,
        )
