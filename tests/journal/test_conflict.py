"""Conflict cells, and merging two versions of a journal by cell."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from journal import ids
from journal.document import Journal
from journal.errors import JournalError
from journal.merge import merge
from journal.scan import BOM

SMALL = b"""---
title: Small
---

<!-- journal:{"id":"s1aa","kind":"step"} -->
## First

A note
of two lines.

```sh {"id":"c1aa"}
ls
pwd
```

```sh {"id":"c2aa"}
make
```
"""


def conflict(ours: bytes, theirs: bytes, base: bytes | None = None) -> bytes:
    middle = b"||||||| base\n" + base if base is not None else b""
    return b"<<<<<<< HEAD\n" + ours + middle + b"=======\n" + theirs + b">>>>>>> other\n"


def test_a_conflict_in_a_cell_makes_the_whole_cell_a_conflict() -> None:
    data = b'a note\n\n```sh {"id":"a1"}\n' + conflict(b"one\n", b"two\n") + b"tail\n```\n\nafter\n"
    journal = Journal.parse(data)
    assert [cell.kind for cell in journal.cells] == ["note", "conflict", "note"]
    cell = journal.cells[1]
    assert not cell.is_code
    assert journal.sides(cell).ours == '\n```sh {"id":"a1"}\none\ntail\n```\n'
    assert journal.sides(cell).base is None
    assert journal.resolve(cell, "ours").data == b'a note\n\n```sh {"id":"a1"}\none\ntail\n```\n\nafter\n'
    assert journal.resolve(cell, "theirs").cells[1].text == "two\ntail"
    both = journal.resolve(cell, "both")
    assert [other.text for other in both.cells] == ["a note", "one\ntail", "two\ntail", "after"]
    assert "used twice" in both.problems[0].message


def test_diff3_style_has_a_base() -> None:
    journal = Journal.parse(conflict(b"a\n", b"b\n", b"c\n"))
    assert journal.sides(journal.cells[0]).base == "c\n"
    assert journal.resolve(journal.cells[0], "both").data == b"a\nb\n"


def test_sides_that_cut_a_fence_take_the_rest_of_it_in() -> None:
    data = conflict(b'```sh {"id":"a"}\n', b"````bash {}\n") + b"ls\n````\nlast\n"
    journal = Journal.parse(data)
    assert [cell.kind for cell in journal.cells] == ["conflict", "note"]
    assert journal.resolve(journal.cells[0], "ours").data == b'```sh {"id":"a"}\nls\n````\nlast\n'


def test_sides_that_part_ways_are_one_conflict_to_where_they_meet() -> None:
    data = conflict(b"~~~\n", b"text\n") + b"```sh {}\nls\n```\n"
    (cell,) = Journal.parse(data).cells
    assert cell.kind == "conflict"


def test_a_conflict_in_a_heading_takes_its_step_in() -> None:
    data = b'<!-- journal:{"kind":"step"} -->\n' + conflict(b"## A\n", b"## B\n") + b"\nnote\n"
    journal = Journal.parse(data)
    assert [cell.kind for cell in journal.cells] == ["conflict", "note"]
    assert journal.resolve(journal.cells[0], "theirs").steps[0].title == "B"


def test_nested_and_unfinished_conflicts() -> None:
    nested = Journal.parse(conflict(conflict(b"a\n", b"b\n"), b"c\n"))
    (cell,) = nested.cells
    inner = nested.resolve(cell, "ours")
    assert [other.kind for other in inner.cells] == ["conflict"]
    assert inner.resolve(inner.cells[0], "theirs").data == b"b\n"
    unfinished = Journal.parse(b"<<<<<<< a\nx\n" + conflict(b"a\n", b"b\n"))
    assert [other.kind for other in unfinished.cells] == ["note", "conflict"]
    assert len(unfinished.problems) == 2


def test_a_conflict_is_replaced_by_typing() -> None:
    journal = Journal.parse(b"before\n\n" + conflict(b"a\n", b"b\n") + b"\n```sh {}\n```\n")
    edited = journal.replace_text(journal.cells[1], "by hand")
    assert edited.data == b"before\n\nby hand\n\n```sh {}\n```\n"


@settings(max_examples=500)
@given(data=st.data())
def test_every_side_of_any_file_can_be_chosen(
    data: st.DataObject, journal_bytes: st.SearchStrategy[bytes]
) -> None:
    check_sides(*(data.draw(journal_bytes) for _ in range(4)))


@pytest.mark.slow
@settings(max_examples=10_000, derandomize=False)
@given(data=st.data())
def test_every_side_of_any_file_can_be_chosen_at_length(
    data: st.DataObject, journal_bytes: st.SearchStrategy[bytes]
) -> None:
    check_sides(*(data.draw(journal_bytes) for _ in range(4)))


def check_sides(before: bytes, ours: bytes, theirs: bytes, after: bytes) -> None:
    journal = Journal.parse(before + b"\n" + conflict(ours + b"\n", theirs + b"\n") + after)
    for cell in [cell for cell in journal.cells if cell.kind == "conflict"]:
        end = cell.start + len(cell.raw)
        for side in ("ours", "theirs", "both"):
            resolved = journal.resolve(cell, side)
            assert resolved.data.startswith(journal.data[: cell.start])
            assert resolved.data.endswith(journal.data[end:])
        words = set(cell.raw.split())
        marks = (b"<<<<<<<", b"|||||||", b"=======", b">>>>>>>")
        both = set(journal.resolve(cell, "both").data.split())
        for line in cell.raw.splitlines():
            if line.startswith(marks) or b"|||||||" in cell.raw or cell.raw.count(b"<<<<<<<") > 1:
                words -= set(cell.raw.split())
        assert words <= both


def test_changes_to_different_cells_are_merged() -> None:
    base = Journal.parse(SMALL)
    ours = base.replace_text(base.cell("c1aa"), "ls -l\npwd")
    theirs = base.replace_text(base.cell("c2aa"), "make all")
    theirs, _ = theirs.insert(theirs.cell("c2aa"), "note", text="Done.")
    merged = merge(base, ours, theirs)
    assert merged.data == SMALL.replace(b"ls\n", b"ls -l\n").replace(b"make", b"make all") + b"\nDone.\n"
    assert merge(base, theirs, ours).data == merged.data


def test_changes_to_different_lines_of_a_cell_are_merged() -> None:
    base = Journal.parse(SMALL.replace(b"pwd", b"a\nb\npwd"))
    ours = base.replace_text(base.cell("c1aa"), "ls -l\na\nb\npwd")
    theirs = base.replace_text(base.cell("c1aa"), "ls\na\nb\npwd -P")
    assert merge(base, ours, theirs).cell("c1aa").text == "ls -l\na\nb\npwd -P"


def test_changes_to_the_same_line_are_a_conflict_with_both() -> None:
    base = Journal.parse(SMALL)
    ours = base.replace_text(base.cell("c2aa"), "make ours")
    theirs = base.replace_text(base.cell("c2aa"), "make theirs")
    merged = merge(base, ours, theirs)
    cell = merged.cells[-1]
    assert cell.kind == "conflict"
    assert merged.resolve(cell, "ours").data == ours.data
    assert merged.resolve(cell, "theirs").data == theirs.data


def test_a_cell_that_one_side_removed_and_the_other_changed_is_kept() -> None:
    base = Journal.parse(SMALL)
    ours = base.remove(base.cell("c1aa"))
    theirs = base.replace_text(base.cell("c1aa"), "ls -a")
    merged = merge(base, ours, theirs)
    assert b"ls -a" in merged.data
    assert [cell.kind for cell in merged.cells].count("conflict") == 1
    assert merge(base, ours, base).data == ours.data


def test_cells_added_at_the_same_place_are_both_there() -> None:
    base = Journal.parse(SMALL)
    ours, _ = base.insert(base.cells[-1], "sh", text="one")
    theirs, _ = base.insert(base.cells[-1], "sh", text="two")
    assert [cell.text for cell in merge(base, ours, theirs).cells[-2:]] == ["one", "two"]


def random_edits(journal: Journal, chooser: random.Random, label: str) -> Journal:
    for number in range(chooser.randint(1, 4)):
        cell = chooser.choice(journal.cells)
        text = (
            f"{label} {number}\n{cell.text}" if chooser.random() < 0.5 else f"{cell.text}\n{label} {number}"
        )
        kind = chooser.choice(["note", "sh", "step", "python"])
        try:
            match chooser.randrange(5):
                case 0 if cell.is_code or cell.kind == "note":
                    journal = journal.replace_text(cell, text)
                case 1:
                    journal, _ = journal.insert(cell, kind, text=f"{label} new {number}")
                case 2 if cell.kind != "front":
                    journal = journal.remove(cell)
                case 3 if cell.kind != "front":
                    journal, _ = journal.move(cell, chooser.choice(journal.cells))
                case 4 if cell.kind not in ("front", "note"):
                    journal = journal.set_meta(cell, by=f"{label}{number}")
        except JournalError:
            continue
    return journal


@pytest.mark.parametrize("seed", range(200))
def test_two_branches_of_random_edits_lose_nothing(seed: int) -> None:
    """Each line that a side added is in the merge; each cell that neither side touched is there as it was."""
    chooser = random.Random(seed)
    with ids.seeded(seed):
        base = Journal.parse(SMALL)
        for number in range(chooser.randint(0, 8)):
            base, _ = base.insert(chooser.choice(base.cells), "sh", text=f"line {number}\nlast {number}")
        ours = random_edits(base, chooser, "ours")
        theirs = random_edits(base, chooser, "theirs")
    merged = merge(base, ours, theirs)
    old = set(base.data.splitlines())
    lines = set(merged.data.splitlines())
    for side in (ours, theirs):
        assert set(side.data.splitlines()) - old <= lines
    kept = set(ours.data.splitlines()) & set(theirs.data.splitlines())
    assert kept <= lines
    assert b"".join(cell.raw for cell in merged.cells) == merged.data


@settings(max_examples=500)
@given(data=st.data())
def test_any_two_files_merge_without_loss(
    data: st.DataObject, journal_bytes: st.SearchStrategy[bytes]
) -> None:
    check_merged(*(data.draw(journal_bytes) for _ in range(3)))


@pytest.mark.slow
@settings(max_examples=10_000, derandomize=False)
@given(data=st.data())
def test_any_two_files_merge_without_loss_at_length(
    data: st.DataObject, journal_bytes: st.SearchStrategy[bytes]
) -> None:
    check_merged(*(data.draw(journal_bytes) for _ in range(3)))


def test_a_merge_keeps_a_second_byte_order_mark_where_it_is() -> None:
    check_merged(b"", BOM + BOM + b"```{", b"\n")
    check_merged(b"`", b"", BOM + BOM + b"\n")


def check_merged(*versions: bytes) -> None:
    base, ours, theirs = (Journal.parse(version) for version in versions)
    merged = merge(base, ours, theirs)
    words = set(merged.data.removeprefix(b"\xef\xbb\xbf").split())
    old = set(base.data.removeprefix(b"\xef\xbb\xbf").split())
    for side in (ours, theirs):
        assert set(side.data.removeprefix(b"\xef\xbb\xbf").split()) - old <= words
