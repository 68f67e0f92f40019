"""Edits rewrite the span of one cell: the rest of the file keeps its bytes and its cells."""

from __future__ import annotations

import re

import pytest

from journal import ids
from journal.document import Journal
from journal.errors import (
    CellUnknown,
    IdTaken,
    KindUnknown,
    MetadataUnreadable,
    NoConflict,
    StepUnknown,
    TextWouldSplit,
)

SMALL = b"""---
title: Small
---

<!-- journal:{"id":"s1aa","kind":"step","state":"doing"} -->
## First

A note.

<!-- journal:{"id":"d1aa", "kind":"doc", "src":"a.md", "x-team":{"b":1, "a":2}} -->
[a.md](a.md)

```sh {"id":"c1aa","name":"go"}
ls
```
"""


def test_an_edit_changes_its_own_span_only() -> None:
    journal = Journal.parse(SMALL)
    edited = journal.replace_text(journal.cell("go"), "ls -l\npwd")
    assert edited.data == SMALL.replace(b"ls\n", b"ls -l\npwd\n")
    assert edited.cell("go").text == "ls -l\npwd"
    assert journal.data == SMALL


def test_metadata_keeps_unknown_keys_their_order_and_their_spaces() -> None:
    journal = Journal.parse(SMALL)
    edited = journal.set_meta(journal.cell("d1aa"), lines="1-2", src="b.md")
    assert b'{"id":"d1aa", "kind":"doc", "src":"b.md", "x-team":{"b":1, "a":2}, "lines":"1-2"}' in edited.data
    back = edited.set_meta(edited.cell("d1aa"), lines=None, src="a.md")
    assert back.data == SMALL


@pytest.mark.parametrize("member", ["id", "kind", "src", "x-team"])
def test_a_removed_member_leaves_valid_json(member: str) -> None:
    journal = Journal.parse(SMALL)
    cell = journal.cell("d1aa")
    edited = journal.set_meta(cell, **{member: None}) if member != "kind" else journal
    assert member == "kind" or member not in edited.cells[cell.index].meta


def test_what_would_end_a_comment_or_a_fence_is_escaped() -> None:
    journal = Journal.parse(SMALL)
    edited = journal.set_meta(journal.cell("s1aa"), why="a --> b")
    edited = edited.set_meta(edited.cell("go"), why="`x`")
    assert b"a --\\u003e b" in edited.data
    assert b"\\u0060x\\u0060" in edited.data
    assert edited.cell("s1aa").meta["why"] == "a --> b"
    assert edited.cell("go").meta["why"] == "`x`"


def test_a_fence_grows_around_text_that_holds_fences() -> None:
    journal = Journal.parse(SMALL)
    edited = journal.replace_text(journal.cell("go"), "cat <<E\n```\n  ````\t\nE")
    assert b'\n`````sh {"id"' in edited.data
    assert edited.data.endswith(b"E\n`````\n")
    assert edited.cell("go").text == "cat <<E\n```\n  ````\t\nE"


def test_a_tilde_fence_stays_one() -> None:
    journal = Journal.parse(b"~~~sh {}\nls\n~~~\n")
    assert journal.replace_text(journal.cells[0], "~~~\n```").data == b"~~~~sh {}\n~~~\n```\n~~~~\n"


def test_lines_keep_the_newlines_and_the_bytes_they_had() -> None:
    raw = b"```sh {}\r\none\ntwo \xff\r\nthree\r\n```\r\n"
    journal = Journal.parse(raw)
    edited = journal.replace_text(journal.cells[0], journal.cells[0].text.replace("three", "3\n4"))
    assert edited.data == b"```sh {}\r\none\ntwo \xff\r\n3\r\n4\r\n```\r\n"


def test_bytes_that_are_not_text_survive_an_edit_of_their_line() -> None:
    journal = Journal.parse(b"a \xff\xfe b\n")
    assert journal.replace_text(journal.cells[0], "A \ufffd\ufffd b!").data == b"A \xff\xfe b!\n"


def test_an_indented_fence_keeps_its_indentation() -> None:
    journal = Journal.parse(b"  ```sh {}\n  a\n    b\n  ```\n")
    assert journal.cells[0].text == "a\n  b"
    assert (
        journal.replace_text(journal.cells[0], "a\n  b\n c").data == b"  ```sh {}\n  a\n    b\n   c\n  ```\n"
    )


@pytest.mark.parametrize(
    "text",
    [
        "```\nno end",
        "<!-- no end",
        '```sh {"id":"x"}\nls\n```',
        '<!-- journal:{"kind":"step"} -->',
        "<<<<<<< a\n=======\n>>>>>>> b",
    ],
)
def test_text_of_a_note_that_would_be_another_cell_is_refused(text: str) -> None:
    journal = Journal.parse(SMALL)
    note = next(cell for cell in journal.cells if cell.kind == "note")
    with pytest.raises(TextWouldSplit) as raised:
        journal.replace_text(note, text)
    assert "\n" not in str(raised.value)


def test_a_step_is_renamed_in_its_heading() -> None:
    journal = Journal.parse(SMALL)
    edited = journal.replace_text(journal.cell("s1aa"), "Second #")
    assert edited.cell("s1aa").title == "Second #"
    assert edited.data == SMALL.replace(b"## First", b"## Second # ##")
    with pytest.raises(TextWouldSplit):
        journal.replace_text(journal.cell("s1aa"), "two\nlines")


def test_a_step_without_a_heading_gets_one() -> None:
    journal = Journal.parse(b'<!-- journal:{"kind":"step"} -->')
    edited = journal.replace_text(journal.cells[0], "Title")
    assert edited.data == b'<!-- journal:{"kind":"step"} -->\n## Title\n'


def test_the_link_under_a_reference() -> None:
    journal = Journal.parse(SMALL)
    assert journal.replace_text(journal.cell("d1aa"), "").data == SMALL.replace(b"[a.md](a.md)\n", b"")
    assert b"\n[A](b.md)\n" in journal.replace_text(journal.cell("d1aa"), "[A](b.md)").data
    with pytest.raises(TextWouldSplit):
        journal.replace_text(journal.cell("d1aa"), "not a link")


def test_insert_assigns_an_id_and_sets_lines_apart() -> None:
    with ids.seeded(1):
        edited, cell = Journal.parse(SMALL).insert(Journal.parse(SMALL).cell("s1aa"), "python", text="1 + 1")
    assert re.fullmatch(r"[a-hjkmnp-tv-z][0-9a-hjkmnp-tv-z]{3}", cell.id)
    expected = b'## First\n\n```python {"id":"%s"}\n1 + 1\n```\n\nA note.' % cell.id.encode()
    assert expected in edited.data
    with ids.seeded(1):
        again, _ = Journal.parse(SMALL).insert(Journal.parse(SMALL).cell("s1aa"), "python", text="1 + 1")
    assert again.data == edited.data


def test_insert_at_the_end_of_a_file_without_a_newline() -> None:
    journal, note = Journal.parse(b"text").insert(Journal.parse(b"text").cells[0], "sh", text="ls")
    assert journal.data == b'text\n\n```sh {"id":"%s"}\nls\n```\n' % note.id.encode()


@pytest.mark.parametrize(
    ("meta", "link"),
    [
        ({"src": "docs/a.md", "lines": "10-80"}, "[docs/a.md lines 10-80](docs/a.md#L10-L80)"),
        ({"src": "src/up.py", "symbol": "Up.send"}, "[src/up.py: Up.send](src/up.py)"),
        ({"src": "gh:acme/up#142"}, "[gh:acme/up#142](https://github.com/acme/up/issues/142)"),
        ({"src": "gl:a/b/c#1"}, "[gl:a/b/c#1](https://gitlab.com/a/b/c/-/issues/1)"),
        ({"src": "pypi:httpx@0.27#Client"}, "[pypi:httpx@0.27#Client]"),
        ({"src": "https://a.example/x"}, "[https://a.example/x](https://a.example/x)"),
        ({"src": "file:t 1.json"}, "[file:t 1.json](<t 1.json>)"),
        ({"src": "man:ls"}, "[man:ls]"),
        ({"src": "a].md"}, "[a\\].md](a].md)"),
    ],
)
def test_a_new_reference_gets_a_link_for_readers_on_a_forge(meta: dict[str, str], link: str) -> None:
    _, cell = Journal.new("T").insert(None, "doc", meta=meta)
    assert cell.text == link
    assert cell.title == re.sub(r"(?<!\\)\].*", "", link[1:]).replace("\\", "")


def test_notes_next_to_each_other_stay_two() -> None:
    journal = Journal.parse(b"one\n")
    edited, second = journal.insert(journal.cells[0], "note", text="two")
    assert [cell.text for cell in edited.cells] == ["one", "two"]
    edited, _ = edited.insert(None, "note", text="zero")
    assert [cell.text for cell in edited.cells] == ["zero", "one", "two"]
    assert second.meta["kind"] == "note"


def test_an_output_stands_behind_its_cell() -> None:
    journal = Journal.parse(SMALL)
    edited, output = journal.insert(journal.cell("go"), "output", text="a\nb", meta={"output": "c1aa"})
    assert output.kind == "output"
    assert not output.is_code
    assert edited.data == SMALL + b'\n```text {"output":"c1aa"}\na\nb\n```\n'


@pytest.mark.parametrize("kind", ["front", "conflict", "unknown", "two words", "a`b", ""])
def test_no_cell_of_a_kind_that_cannot_be(kind: str) -> None:
    with pytest.raises(KindUnknown):
        Journal.new("T").insert(None, kind)


def test_a_reference_to_a_note_gives_it_a_marker() -> None:
    journal = Journal.parse(b"a note\n")
    edited, note = journal.ensure_id(journal.cells[0])
    assert edited.data == b'<!-- journal:{"id":"%s","kind":"note"} -->\na note\n' % note.id.encode()
    assert edited.ensure_id(note)[0] is edited


def test_a_duplicate_id_is_renamed_at_the_next_edit_of_the_later_cell() -> None:
    journal = Journal.parse(b'```sh {"id":"a1"}\n1\n```\n\n```sh {"id":"a1"}\n2\n```\n')
    assert "used twice" in journal.problems[0].message
    assert journal.cells[0].key == "a1"
    assert journal.cells[1].key != "a1"
    first = journal.replace_text(journal.cells[0], "one")
    assert [cell.id for cell in first.cells] == ["a1", "a1"]
    second = journal.replace_text(journal.cells[1], "two")
    assert second.cells[0].id == "a1"
    assert second.cells[1].id not in ("a1", "")
    assert "was used twice" in second.notices[0]
    with pytest.raises(IdTaken):
        journal.set_meta(journal.cells[1], id="a1")


def test_front_matter_keeps_its_comments_and_order() -> None:
    journal = Journal.parse(b"---\r\n# ours\r\nb: 'x'   # why\r\ntitle: T\r\na: [1,  2]\r\n---\r\n")
    edited = journal.set_meta(journal.cells[0], title="New: one", state="x")
    assert edited.data.startswith(b"---\r\n# ours\r\nb: 'x'   # why\r\ntitle: 'New: one'\r\n")
    assert edited.title == "New: one"
    assert b"\r\nstate: x\r\n---\r\n" in edited.data
    assert b"\n" not in edited.data.replace(b"\r\n", b"")


def test_what_cannot_be_edited_says_why() -> None:
    journal = Journal.parse(b"---\n[\n---\n```sh {oops}\nls\n```\n")
    for cell in journal.cells:
        with pytest.raises(MetadataUnreadable):
            journal.set_meta(cell, x=1)
    with pytest.raises(NoConflict):
        journal.resolve(journal.cells[1], "ours")
    gone = Journal.parse(SMALL).cell("go")
    with pytest.raises(CellUnknown):
        journal.remove(gone)


def test_a_cell_of_an_earlier_version_is_found_again() -> None:
    journal = Journal.parse(SMALL)
    code = journal.cell("go")
    longer, _ = journal.insert(None, "sh", text="first")
    assert longer.replace_text(code, "later").cell("go").text == "later"


def test_move() -> None:
    journal = Journal.parse(SMALL)
    moved, cell = journal.move(journal.cell("go"), journal.cell("s1aa"))
    assert [other.id for other in moved.cells] == ["", "s1aa", "c1aa", "", "d1aa"]
    assert cell.id == "c1aa"
    back, _ = moved.move(cell, moved.cells[-1])
    assert back.data == SMALL


STEPS = b"""Before.

<!-- journal:{"id":"s1aa","kind":"step"} -->
## One

```sh {"id":"c1aa"}
ls
```

<!-- journal:{"id":"s2aa","kind":"step"} -->
## Two

A note.

- item
"""


def test_a_step_moves_with_its_cells() -> None:
    journal = Journal.parse(STEPS)
    moved, step = journal.move_step(journal.cell("s1aa"), journal.cell("s2aa"))
    assert step.id == "s1aa"
    one, two = STEPS.index(b'<!-- journal:{"id":"s1'), STEPS.index(b'<!-- journal:{"id":"s2')
    assert moved.data == STEPS[:one] + STEPS[two:] + b"\n" + STEPS[one : two - 1]
    assert [cell.id for cell in moved.cells_of(step)] == ["c1aa"]
    back, _ = moved.move_step(step, None)
    assert back.data == STEPS
    assert journal.move_step(journal.cell("s2aa"), journal.cell("s1aa"))[0] is journal
    assert journal.move_step(journal.cell("s2aa"), journal.cell("s2aa"))[0] is journal


def test_a_step_that_leaves_something_open_stays_last() -> None:
    journal = Journal.parse(STEPS + b"\n```sh {}\nls")
    with pytest.raises(TextWouldSplit):
        journal.move_step(journal.cell("s2aa"), None)
    with pytest.raises(StepUnknown):
        journal.move_step(journal.cell("c1aa"), None)


def test_a_note_with_no_text_has_a_marker_until_it_has_some() -> None:
    journal, note = Journal.new("T").insert(None, "note")
    assert (note.text, note.meta["kind"]) == ("", "note")
    assert journal.replace_text(note, "Text.").cells[-1].text == "Text."


def test_a_marker_that_cannot_be_read_is_mended_as_it_stands() -> None:
    journal = Journal.parse(b'<!-- journal:{"kind":"chart"} -->\n\nnote\n')
    mended = journal.replace_text(journal.cells[0], journal.cells[0].text.replace("chart", "note"))
    assert mended.data == b'<!-- journal:{"kind":"note"} -->\n\nnote\n'
    assert [cell.kind for cell in mended.cells] == ["note"]
    with pytest.raises(TextWouldSplit):
        journal.replace_text(journal.cells[0], "<!-- journal:{}")
