"""Whatever the file and the text, an edit is refused in one line or leaves every other cell alone.

The default run draws the same examples every time; the slow one draws others each time.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from journal.document import Cell, Journal
from journal.errors import JournalError
from journal.scan import BOM

Result = TypeVar("Result")
BLANK = b" \t\r\n"
KINDS = ["step", "note", "doc", "sh", "output"]


def attempt(edit: Callable[[], Result]) -> Result | None:
    """What the edit gives; None when it is refused, which takes one line."""
    try:
        return edit()
    except JournalError as error:
        message = str(error)
    assert message
    assert "\n" not in message
    return None


def core(cell: Cell) -> tuple[str, bytes | str]:
    raw = cell.raw.removeprefix(BOM) if cell.start == 0 else cell.raw
    return cell.kind, cell.text if cell.kind == "note" else raw.strip(BLANK)


def cores(cells: Iterable[Cell]) -> list[tuple[str, bytes | str]]:
    return [core(cell) for cell in cells]


def others(journal: Journal, index: int) -> list[tuple[str, bytes | str]]:
    return cores(cell for cell in journal.cells if cell.index != index)


def fixpoint(journal: Journal) -> None:
    again = Journal.parse(journal.data)
    assert again.cells == journal.cells
    assert b"".join(cell.raw for cell in journal.cells) == journal.data


def words(journal: Journal) -> Counter[bytes]:
    return Counter(journal.data.removeprefix(BOM).split())


def normal(text: str) -> str:
    """What is left of `text` in a file: its newlines become the cell's, halves of surrogate pairs go."""
    return text.encode(errors="replace").decode().replace("\r\n", "\n").replace("\r", "\n")


def normal_value(value: object) -> object:
    return value.encode(errors="replace").decode() if isinstance(value, str) else value


def whole(cell: Cell) -> bool:
    """Whether an edit may turn the cell into any others: a conflict, or a marker that cannot be read."""
    return cell.kind == "conflict" or (cell.kind == "unknown" and not cell.fence)


def blank(journal: Journal) -> bool:
    return not journal.data.removeprefix(BOM).strip(BLANK)


def read(raw: bytes, place: int) -> tuple[Journal, Cell]:
    """The journal, and a cell of it; every number is a place."""
    journal = Journal.parse(raw or b"x")
    return journal, journal.cells[place % len(journal.cells)]


def behind(journal: Journal, place: int) -> Cell | None:
    """A cell to put another behind: every number is a place, -1 the start."""
    return None if place < 0 or not journal.cells else journal.cells[place % len(journal.cells)]


def check_replaced(raw: bytes, place: int, text: str) -> None:
    journal, cell = read(raw, place)
    edited = attempt(lambda: journal.replace_text(cell, text))
    if edited is None:
        return
    fixpoint(edited)
    if (cell.kind == "note" or whole(cell)) and not normal(text).strip(" \t\n"):
        return
    assert edited.data[: cell.start] == journal.data[: cell.start]
    assert edited.data.endswith(journal.data[cell.start + len(cell.raw) :])
    if whole(cell):
        rest = cores(journal.cells[cell.index + 2 :])
        assert cores(edited.cells[len(edited.cells) - len(rest) :]) == rest
        return
    assert others(edited, cell.index) == others(journal, cell.index)
    after = edited.cells[cell.index]
    assert after.kind == cell.kind
    if cell.is_code or cell.kind == "output":
        assert after.text == normal(text)
    elif cell.kind == "step":
        assert after.text == normal(text).strip(" \t\n")
    else:
        assert after.text.strip(" \t\n") == normal(text).strip(" \t\n")


def check_set_meta(raw: bytes, place: int, changes: dict[str, Any]) -> None:
    journal, cell = read(raw, place)
    edited = attempt(lambda: journal.set_meta(cell, **changes))
    if edited is None:
        return
    fixpoint(edited)
    assert others(edited, cell.index) == others(journal, cell.index)
    assert edited.cells[cell.index].text == cell.text or cell.kind == "front" or whole(cell)
    after = edited.front if cell.kind == "front" else edited.cells[cell.index].meta
    for key, value in changes.items():
        if cell.kind != "front":
            assert json.dumps(after.get(key)) == json.dumps(normal_value(value))
    if cell.kind not in ("front", "note"):
        kept = [key for key in cell.meta if key not in changes]
        assert [key for key in after if key in kept] == kept


def check_ensured(raw: bytes, place: int) -> None:
    journal, cell = read(raw, place)
    ensured = attempt(lambda: journal.ensure_id(cell))
    if ensured is None:
        return
    edited, there = ensured
    fixpoint(edited)
    assert there.id == there.key
    assert edited.cell(there.id) == there
    assert there.text == cell.text or whole(cell)
    assert others(edited, there.index) == others(journal, cell.index)


def check_inserted(raw: bytes, place: int, kind: str, text: str) -> None:
    journal = Journal.parse(raw)
    meta = {"output": "a1"} if kind == "output" else {}
    inserted = attempt(lambda: journal.insert(behind(journal, place), kind, text=text, meta=meta))
    if inserted is None:
        return
    edited, cell = inserted
    fixpoint(edited)
    assert cell == edited.cells[cell.index]
    assert cell.kind == kind
    assert words(journal) <= words(edited)
    assert others(edited, cell.index) == ([] if blank(journal) else cores(journal.cells))
    if kind in ("sh", "output"):
        assert cell.text == normal(text)
    else:
        assert cell.text.strip(" \t\n") == normal(text).strip(" \t\n")


def check_removed(raw: bytes, place: int) -> None:
    journal, cell = read(raw, place)
    edited = attempt(lambda: journal.remove(cell))
    if edited is None:
        return
    fixpoint(edited)
    bom = BOM if cell.start == 0 and journal.data.startswith(BOM) else b""
    end = cell.start + len(cell.raw)
    assert edited.data == journal.data[: cell.start] + bom + journal.data[end:]


def check_moved(raw: bytes, place: int, after: int) -> None:
    journal, cell = read(raw, place)
    both = attempt(lambda: journal.move(cell, behind(journal, after)))
    if both is None:
        return
    moved, there = both
    fixpoint(moved)
    assert core(there) == core(cell)
    assert there == moved.cells[there.index]
    assert words(journal) <= words(moved)
    others_before = [one for one in others(journal, cell.index) if one[0] != "note"]
    assert [one for one in others(moved, there.index) if one[0] != "note"] == others_before


def check_moved_step(raw: bytes, place: int, after: int) -> None:
    journal = Journal.parse(raw)
    if not journal.steps:
        return
    step = journal.steps[place % len(journal.steps)]
    target = None if after < 0 else journal.steps[after % len(journal.steps)]
    both = attempt(lambda: journal.move_step(step, target))
    if both is None:
        return
    moved, there = both
    fixpoint(moved)
    assert words(journal) == words(moved)
    spans = {one: cores([one, *journal.cells_of(one)]) for one in journal.steps}
    order = [one for one in journal.steps if one is not step or step is target]
    if step is not target:
        order.insert(order.index(target) + 1 if target else 0, step)
    before = cores(journal.cells[: journal.steps[0].index])
    assert cores(moved.cells) == [*before, *(cell for one in order for cell in spans[one])]
    assert there is moved.steps[order.index(step)]


CHECKS: dict[str, Callable[..., None]] = {
    "replaced text is the text": check_replaced,
    "metadata is what was set": check_set_meta,
    "an id is what a cell is found by": check_ensured,
    "an inserted cell is one more": check_inserted,
    "a removed cell is one less": check_removed,
    "a moved cell is all that moves": check_moved,
    "a step moves with its cells": check_moved_step,
}
CONFLICT_IN_HTML = b"<v>\n<<<<<<<\n=======\n>>>>>>>\n"
BROKEN: dict[str, list[tuple[Any, ...]]] = {
    "replaced text is the text": [
        (b'<!--journal:{"kind":"step"}-->\n# d #', 0, ""),
        (b'<!--journal:{"kind":"step"}-->', 0, "\xa0"),
        (b"```h{}", 0, "\ud800"),
        (b"\xc3", 0, "\ud800\ufffd"),
        (b"\xc3 \xa9\n", 0, "\ufffd\ufffd"),
        (b'<!-- journal:{oops} -->\n\nnote\n\n```sh {"id":"a1"}\n```\n', 0, "```"),
        (b'<!-- journal:{"kind":"chart"} -->\n\nnote\n', 0, " "),
    ],
    "metadata is what was set": [
        (b"\t", 0, {"state": 1}),
        (b"x", 0, {}),
        (b"\xef\xbb\xbf", 0, {"state": 1}),
        (b"```sh {}\n```", 0, {"title": "\ud800"}),
        (CONFLICT_IN_HTML + b">", 2, {"state": "x"}),
    ],
    "an id is what a cell is found by": [(b"\t", 0), (b"---\n---", 0), (CONFLICT_IN_HTML + b"q", 2)],
    "an inserted cell is one more": [
        (b"```{", 0, "note", ""),
        (b"<!--journal:", 0, "note", "\n"),
        (b"`", -1, "doc", '<!--journal:{"kind":"note"}-->'),
        (b"", -1, "step", "\x85"),
        (b"", -1, "sh", "\ud800"),
        (CONFLICT_IN_HTML + b'<!--journal:{"kind":"note"}-->', 0, "sh", ""),
    ],
    "a removed cell is one less": [(b"\xef\xbb\xbf```sh {}\n```\n", 0)],
    "a moved cell is all that moves": [
        (b"text \n\n```sh {}\n```\n", 0, 1),
        (b"<!--journal:-->\n\xef\xbb\xbf=", 0, 1),
        (b"```{\n```\n\xef\xbb\xbfe", 1, -1),
    ],
    "a step moves with its cells": [
        (b'<!-- journal:{"kind":"step"} -->\n```sh {}\nls\n```\n<!-- journal:{"kind":"step"} -->\n```', 0, 1),
        (b'note\r<!-- journal:{"kind":"step"} -->\rend \r<!-- journal:{"kind":"step"} -->', 1, -1),
    ],
}
"""Inputs that once broke a property: the file, the cell's place, and what the edit takes."""


@pytest.mark.parametrize(
    ("check", "given"), [(CHECKS[name], case) for name, cases in BROKEN.items() for case in cases]
)
def test_what_once_went_wrong(check: Callable[..., None], given: tuple[Any, ...]) -> None:
    check(*given)


_place = st.integers(0, 30)
_behind = st.integers(-1, 30)
_value = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-99, 99),
    st.text(max_size=8),
    st.lists(st.text(max_size=3), max_size=2),
)
_changes = st.dictionaries(st.sampled_from(["name", "lines", "x>y", "`", "title"]), _value)
_kind = st.sampled_from(KINDS)


def drawn(
    data: st.DataObject, name: str, raw: st.SearchStrategy[bytes], text: st.SearchStrategy[str]
) -> tuple[Any, ...]:
    more: dict[str, tuple[st.SearchStrategy[Any], ...]] = {
        "replaced text is the text": (_place, text),
        "metadata is what was set": (_place, _changes),
        "an id is what a cell is found by": (_place,),
        "an inserted cell is one more": (_behind, _kind, text),
        "a removed cell is one less": (_place,),
        "a moved cell is all that moves": (_place, _behind),
        "a step moves with its cells": (_place, _behind),
    }
    return data.draw(st.tuples(raw, *more[name]), label=name)


@pytest.mark.parametrize("name", CHECKS)
@settings(max_examples=500)
@given(data=st.data())
def test_an_edit_changes_nothing_else(
    name: str,
    data: st.DataObject,
    journal_bytes: st.SearchStrategy[bytes],
    typed_text: st.SearchStrategy[str],
) -> None:
    CHECKS[name](*drawn(data, name, journal_bytes, typed_text))


@pytest.mark.slow
@pytest.mark.parametrize("name", CHECKS)
@settings(max_examples=10_000, derandomize=False)
@given(data=st.data())
def test_an_edit_changes_nothing_else_at_length(
    name: str,
    data: st.DataObject,
    journal_bytes: st.SearchStrategy[bytes],
    typed_text: st.SearchStrategy[str],
) -> None:
    CHECKS[name](*drawn(data, name, journal_bytes, typed_text))
