"""A unit's rows are found exactly, out of another version of its text, or not at all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engine.kv.memory import Memory
from engine.kv.rows import Rows, Shape
from engine.kv.shelf import CHAIN_TOKENS, Shelf, window
from engine.prompt import Slice, Unit

SHAPE = Shape(((32, 32),))


def shelf(budget: int = 10_000_000) -> Shelf:
    return Shelf(Memory(budget), None, identity=b"i" * 32, header_tokens=3, shape=SHAPE)


def rows_of(tokens: Sequence[int], base: int) -> Rows:
    """Rows whose first value tells their token."""
    data = np.zeros(len(tokens) * SHAPE.row_bytes("f16"), np.uint8)
    data[: 64 * len(tokens) : 64] = [token % 251 for token in tokens]
    return Rows(data, len(tokens), base, "f16", SHAPE)


def put(known: Shelf, unit: Unit) -> None:
    known.put(unit, rows_of(unit.tokens, known.base(unit)), compute_ms=100.0)


def tokens_found(known: Shelf, wanted: Slice) -> list[int | None]:
    """For each wanted token, the token whose rows serve it; None where it must be computed."""
    found: list[int | None] = []
    for stretch in known.find(wanted):
        for index in range(stretch.first, stretch.first + stretch.count):
            found.append(None if stretch.rows is None else int(stretch.rows.data[64 * index]))
    return found


def chain(*texts: Sequence[int], name: str = "a.py") -> Unit:
    unit: Unit | None = None
    for text in texts:
        unit = Unit(name, tuple(text), unit)
    assert unit is not None
    return unit


def test_what_was_put_is_found_and_a_slice_of_it() -> None:
    known, unit = shelf(), chain(range(40))
    assert tokens_found(known, Slice(unit, 0, 40)) == [None] * 40
    put(known, unit)
    assert tokens_found(known, Slice(unit, 5, 10)) == list(range(5, 15))
    assert known.find(Slice(unit, 5, 10))[0].exact


def test_the_same_tokens_behind_another_chain_are_approximate() -> None:
    known = shelf()
    put(known, chain(range(20), range(50, 90)))
    other = chain(range(20, 40), range(50, 90))
    assert not known.has(other)
    assert tokens_found(known, Slice(other, 0, 40)) == list(range(50, 90))
    assert not any(stretch.exact for stretch in known.find(Slice(other, 0, 40)))


def test_an_edit_keeps_what_stands_before_it_exactly_and_what_follows_approximately() -> None:
    known, before = shelf(), list(range(100))
    put(known, chain(before))
    edited = chain([*before[:40], 200, 201, *before[45:]])
    found = known.find(Slice(edited, 0, 97))
    assert [(s.rows is not None, s.count, s.exact) for s in found] == [
        (True, 40, True),
        (False, 2, True),
        (True, 55, False),
    ]
    assert tokens_found(known, Slice(edited, 30, 30)) == [*range(30, 40), None, None, *range(45, 63)]


def test_an_edit_of_the_chain_before_makes_the_beginning_approximate_too() -> None:
    known = shelf()
    put(known, chain([1] * 10, range(40)))
    edited = chain([2] * 10, [*range(20), 99, *range(20, 40)])
    assert [s.exact for s in known.find(Slice(edited, 0, 41)) if s.rows is not None] == [False, False]


def test_computed_in_place_serves_the_same_piece_elsewhere() -> None:
    known, unit = shelf(), chain(range(40))
    known.keep("a.py", tuple(range(20, 40)), rows_of(range(20, 40), 77), compute_ms=0.0)
    assert tokens_found(known, Slice(unit, 20, 20)) == list(range(20, 40))
    assert not known.has(unit)


def test_names_of_documents_keep_versions_apart() -> None:
    known = shelf()
    put(known, chain(range(40), name="a.py"))
    other = chain([7, *range(40)], name="b.py")
    assert tokens_found(known, Slice(other, 0, 41)) == [None] * 41


def test_what_memory_dropped_is_computed_again() -> None:
    known = shelf(budget=SHAPE.row_bytes("f16") * 45)
    put(known, chain(range(40)))
    put(known, chain(range(100, 140), name="b.py"))
    assert tokens_found(known, Slice(chain(range(40)), 0, 40)) == [None] * 40
    assert tokens_found(known, Slice(chain([9, *range(40)]), 0, 41)) == [None] * 41


def test_a_chain_is_bounded_from_its_end() -> None:
    count = CHAIN_TOKENS // 256 + 4
    unit = chain(*([i] * 256 for i in range(count)))
    assert window(unit) == list(unit.chain()[3 : count - 1])
    assert sum(len(link.tokens) for link in window(unit)) <= CHAIN_TOKENS


TEXT = st.lists(st.integers(0, 5), min_size=1, max_size=30)


@given(TEXT, TEXT, st.data())
def test_whatever_is_found_has_the_wanted_tokens(old: list[int], new: list[int], data: st.DataObject) -> None:
    known = shelf()
    put(known, chain(old))
    unit = chain(new)
    first = data.draw(st.integers(0, len(new) - 1))
    count = data.draw(st.integers(1, len(new) - first))
    found = tokens_found(known, Slice(unit, first, count))
    assert len(found) == count
    assert all(token is None or token == want for token, want in zip(found, new[first:], strict=False))
