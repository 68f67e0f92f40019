"""Cells hold exactly the wanted tokens at the wanted positions, and do no more work than that takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.kv.rows import Rows, Shape
from engine.runtime.cells import Cells, Span

SHAPE = Shape(((32, 32),))
SIZE = 96


class ContextModel:
    """What a context promises, in Python: which token lies at which position, and where it came from."""

    closed = False
    context_tokens = 4 * SIZE
    batch_tokens = 8

    def __init__(self) -> None:
        self.cells: dict[int, list[tuple[int, str]]] = {}
        self.decoded: list[tuple[int, ...]] = []
        self.written = 0
        self.fail_at: int | None = None

    def decode(
        self, tokens: Sequence[int], position: Any, *, sequence: int = 0, outputs: str = "last"
    ) -> None:
        places = range(position, position + len(tokens)) if isinstance(position, int) else list(position)
        if self.fail_at is not None and places[0] >= self.fail_at:
            self.remove(places[0])
            raise RuntimeError("aborted")
        assert list(places) == sorted(set(places))
        for place, token in zip(places, tokens, strict=True):
            assert place not in self.cells, "a position is computed twice"
            self.cells[place] = [(token, "computed")]
        self.decoded.append(tuple(tokens))

    def write(
        self, data: Any, *, total: int, first: int, count: int, position: int, delta: int, **_: Any
    ) -> None:
        self.written += count
        for offset in range(count):
            token = int(data[(first + offset) * 128])
            self.cells.setdefault(position + offset, []).append((token, "written"))

    def remove(self, start: int, end: int = -1, sequence: int = 0) -> bool:
        for place in [p for p in self.cells if p >= start and (end < 0 or p < end)]:
            del self.cells[place]
        return True

    def clear(self) -> None:
        self.cells.clear()

    def text(self) -> dict[int, list[int]]:
        return {place: [token for token, _ in held] for place, held in self.cells.items()}


def rows_of(tokens: Sequence[int]) -> Rows:
    data = np.zeros(len(tokens) * SHAPE.row_bytes("f16"), np.uint8)
    data[: 128 * len(tokens) : 128] = tokens
    return Rows(data, len(tokens), 1000, "f16", SHAPE)


LIBRARY = [rows_of(range(start, start + length)) for start, length in ((10, 4), (20, 9), (40, 1), (60, 13))]
STARTS = (10, 20, 40, 60)


def wanted_from(parts: Sequence[tuple[int | None, Sequence[int]]]) -> list[Span]:
    spans, position = [], 0
    for which, tokens in parts:
        if which is None:
            span = Span(position, tuple(tokens))
        else:
            rows = LIBRARY[which]
            span = Span(position, tuple(range(STARTS[which], STARTS[which] + rows.tokens)), rows)
        spans.append(span)
        position = span.end
    return spans


def fulfil(cells: Cells, wanted: Sequence[Span]) -> int:
    missing = cells.arrange(wanted).missing
    cells.compute(missing)
    return sum(len(span.tokens) for span in missing)


PARTS = st.lists(
    st.one_of(
        st.tuples(st.integers(0, 3), st.just(())),
        st.tuples(st.none(), st.lists(st.integers(100, 103), min_size=1, max_size=5)),
    ),
    min_size=1,
    max_size=6,
)


@given(st.lists(PARTS, min_size=1, max_size=6))
def test_any_arrangement_follows_any_other(arrangements: list[Any]) -> None:
    context = ContextModel()
    cells = Cells(context)  # type: ignore[arg-type]
    for parts in arrangements:
        wanted = wanted_from(parts)
        fulfil(cells, wanted)
        expected = {s.position + i: [token] for s in wanted for i, token in enumerate(s.tokens)}
        assert context.text() == expected
        assert cells.held_tokens == len(expected)
        assert fulfil(cells, wanted) == 0, "the same again computes nothing"


def test_what_stays_is_not_touched() -> None:
    context = ContextModel()
    cells = Cells(context)  # type: ignore[arg-type]
    fulfil(cells, wanted_from([(None, [1, 2]), (1, ()), (3, ()), (None, [100, 101])]))
    context.written = 0
    computed = fulfil(cells, wanted_from([(None, [1, 2]), (1, ()), (3, ()), (None, [100, 102, 103])]))
    assert (context.written, computed) == (0, 2)


def test_text_behind_a_changed_document_is_computed_again() -> None:
    context = ContextModel()
    cells = Cells(context)  # type: ignore[arg-type]
    fulfil(cells, wanted_from([(None, [1, 2]), (0, ()), (None, [100, 101])]))
    computed = fulfil(cells, wanted_from([(None, [1, 2]), (2, ()), (None, [100, 101])]))
    assert computed == 2


def test_rows_that_only_became_better_leave_the_text_behind_them() -> None:
    context = ContextModel()
    cells = Cells(context)  # type: ignore[arg-type]
    fulfil(cells, wanted_from([(None, [1, 2]), (0, ()), (None, [100, 101])]))
    fresh = rows_of(range(10, 14))
    wanted = wanted_from([(None, [1, 2]), (0, ()), (None, [100, 101])])
    wanted[1] = Span(2, wanted[1].tokens, fresh)
    context.written = 0
    assert fulfil(cells, wanted) == 0
    assert context.written == 4


def test_shared_documents_lie_over_each_other() -> None:
    context = ContextModel()
    cells = Cells(context)  # type: ignore[arg-type]
    shared = [Span(2, tuple(range(10, 14)), LIBRARY[0]), Span(2, tuple(range(20, 29)), LIBRARY[1])]
    wanted = [Span(0, (1, 2)), Span(11, (100, 101))]
    placed = cells.arrange(wanted[:1])
    cells.compute(placed.missing)
    placed = cells.arrange(wanted, shared=shared)
    assert placed.loaded_tokens == 13
    assert not placed.shared_stayed
    cells.compute(placed.missing)
    assert context.text()[2] == [10, 20]
    assert context.text()[10] == [28]
    again = cells.arrange(wanted, shared=shared)
    assert (again.loaded_tokens, again.missing, again.shared_stayed) == (0, (), True)
    other = cells.arrange(wanted, shared=shared[:1])
    assert [len(span.tokens) for span in other.missing] == [2], "the query saw other documents"
    assert context.text()[2] == [10]


@pytest.mark.parametrize("fail_at", [0, 2, 6, 11])
def test_after_a_failure_only_what_is_there_is_held(fail_at: int) -> None:
    context = ContextModel()
    cells = Cells(context)  # type: ignore[arg-type]
    wanted = wanted_from([(None, [1, 2]), (0, ()), (None, [100, 101, 102]), (0, ()), (None, [103])])
    context.fail_at = fail_at
    placed = cells.arrange(wanted)
    try:
        for span in placed.missing:
            cells.compute([span])
    except RuntimeError:
        pass
    assert cells.held_tokens == len(context.cells)
    context.fail_at = None
    fulfil(cells, wanted)
    assert context.text() == {s.position + i: [t] for s in wanted for i, t in enumerate(s.tokens)}


def test_first_tokens_are_computed_again_in_place() -> None:
    context = ContextModel()
    cells = Cells(context)  # type: ignore[arg-type]
    wanted = wanted_from([(None, [1, 2]), (1, ()), (None, [100])])
    fulfil(cells, wanted)
    cells.again([Span(2, wanted[1].tokens[:3])])
    assert [context.cells[place][0][1] for place in (2, 4, 5)] == ["computed", "computed", "written"]
    document = wanted[1]
    split = [
        wanted[0],
        Span(2, document.tokens[:3]),
        Span(5, document.tokens[3:], document.rows, 3),
        wanted[2],
    ]
    assert fulfil(cells, split) == 0
