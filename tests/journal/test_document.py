"""Reading a journal: cells, steps, look-up, and what is said about damage."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from journal.document import Journal
from journal.errors import CellUnknown, StepUnknown

EXAMPLE = (Path(__file__).parent / "corpus" / "example.journal.md").read_bytes()


def test_a_journal_is_read_into_steps_and_cells() -> None:
    journal = Journal.parse(EXAMPLE)
    assert journal.title == "Add retry to uploader"
    assert [cell.kind for cell in journal.cells] == [
        "front", "step", "note", "ticket", "doc", "source", "sh", "output", "step", "python",
    ]  # fmt: skip
    step = journal.step("Reproduce the failure")
    assert step.id == "s7k2"
    assert step.meta["state"] == "doing"
    assert [cell.id for cell in journal.cells_of(step) if cell.id] == ["t3m9", "d4x1", "c8p0", "r5q8"]
    code = journal.cell("repro")
    assert code.is_code
    assert code.text == "pytest -x tests/test_up.py"
    assert journal.step_of(code) is step
    assert journal.problems == ()


def test_cells_are_found_by_id_name_and_position() -> None:
    journal = Journal.parse(EXAMPLE)
    assert journal.cell("r5q8") is journal.cell("repro") is journal.cell("#7")
    assert journal.cell("d4x1").title == "docs/retry.md lines 10-80"
    with pytest.raises(CellUnknown, match="no cell 'nope' in this journal: there are s7k2"):
        journal.cell("nope")
    for ref in ("#0", "#99", "", "#"):
        with pytest.raises(CellUnknown):
            journal.cell(ref)


def test_steps_are_found_by_id_title_and_number() -> None:
    journal = Journal.parse(EXAMPLE)
    assert journal.step("2") is journal.step("write the RETRY") is journal.steps[1]
    assert journal.step_of(journal.cells[0]) is None
    assert [cell.kind for cell in journal.cells_of(journal.steps[1])] == ["python"]
    with pytest.raises(StepUnknown, match="there are s7k2, s9aa"):
        journal.step("3")
    with pytest.raises(StepUnknown, match="no steps yet"):
        Journal.parse(b"").step("1")


def test_lines_count_from_one_for_every_newline() -> None:
    journal = Journal.parse(b"a\r\nb\rc\n\n```sh {}\nls\n```\n\n```sh {}\n```")
    assert [cell.line for cell in journal.cells] == [1, 5, 9]


@pytest.mark.parametrize("data", [b"", b"\n", b"\xef\xbb\xbf", b"  "])
def test_a_file_with_nothing_in_it(data: bytes) -> None:
    journal = Journal.parse(data)
    assert [cell.text for cell in journal.cells] == [""] * bool(data)
    assert journal.title == ""
    assert journal.steps == ()
    edited, cell = journal.insert(None, "sh", text="ls")
    assert cell.text == "ls"
    assert edited.data.startswith(data[:3] if data.startswith(b"\xef") else b"")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('<!-- journal:{"kind":"chart"} -->', "no such kind of cell: 'chart'"),
        ("<!-- journal:{oops} -->", "the metadata is not JSON"),
        ("<!-- journal:[1] -->", "the metadata is not a JSON object"),
        ('<!-- journal:{"kind":"doc"} --> x', "text follows the marker"),
        ('<!-- journal:{"kind":"doc"}', "this comment is never closed"),
        ("```sh {name=x}\n```", "the metadata is not JSON (expecting property name"),
        ('<!-- journal:{"kind":"step" -->', "not JSON (expecting ',' delimiter at its character 15)"),
        ('```sh {"a":NaN}\n```', "the metadata is not JSON"),
        ('```sh {"a":"\\ud800"}\n```', "half a surrogate pair"),
        ("```sh {}\nls", "this fence is never closed"),
        ("``` {}\nls\n```", "this fence names no language"),
        ("```step {}\n```", "this fence names no language"),
        ('```sh {"id":1}\n```', "not an id: 1"),
        ("<<<<<<< a\nx", "this conflict marker has no end"),
        ("<<<<<<< a\n=======\n>>>>>>> b", "a merge conflict"),
        ("---\n[\n---", "the front matter is not YAML"),
        ("---\na: 1\na: 2\n---", "the front matter is not YAML"),
        ("---\n- a\n---", "the front matter is not a mapping"),
        ("---\njournal: 2\n---", "journal version 2 is newer than 1"),
        ("---\nd: 2020-13-45\n---", "the front matter is not YAML"),
        ("---\n" + "[" * 5000 + "\n---", "the front matter is"),
        ("---\na: " + "x" * 70_000 + "\n---", "the front matter is longer than 65536 bytes"),
        ("```sh {" + '"a":' + "[" * 50_000 + "\n```", "the metadata is"),
    ],
)
def test_damage_is_a_problem_of_its_line_and_loses_nothing(text: str, message: str) -> None:
    journal = Journal.parse(b"\n" * (not text.startswith("---")) + text.encode())
    (problem,) = journal.problems
    assert message in problem.message
    assert "\n" not in problem.message
    assert problem.line == (1 if text.startswith("---") else 2)
    assert b"".join(cell.raw for cell in journal.cells) == journal.data


def test_what_cannot_be_read_cannot_be_run() -> None:
    journal = Journal.parse(b'```sh {"id": }\nrm x\n```\n\n```sh\nbare\n```\n\n- ```sh {}\n  in a list\n')
    assert not any(cell.is_code for cell in journal.cells)


@pytest.mark.parametrize(
    ("heading", "title"),
    [("# a #", "a"), ("# #", ""), ("# a#", "a#"), ("# a \\#", "a \\#"), ("# a ## ", "a"), ("# a\t##\t", "a")],
)
def test_hashes_that_close_a_heading_are_not_its_title(heading: str, title: str) -> None:
    assert Journal.parse(heading.encode()).title == title
    assert Journal.parse(b'<!-- journal:{"kind":"step"} -->\n' + heading.encode()).steps[0].title == title


def test_yaml_builds_no_objects_and_unfolds_no_bombs() -> None:
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{new}: &{new} [{','.join(['*' + old] * 9)}]\n"
        for old, new in zip("abcdefgh", "bcdefghi", strict=True)
    )
    (problem,) = Journal.parse(f"---\n{bomb}---\n".encode()).problems
    assert "too many values" in problem.message
    loop = Journal.parse(b"---\na: &a [*a]\n---\n")
    assert json.dumps(loop.front)
    unsafe = Journal.parse(b"---\na: !!python/object/apply:os.system ['echo no']\n---\n")
    assert unsafe.front == {"a": ["echo no"]}


@pytest.mark.parametrize(
    "body",
    [
        "journal: 1\ntitle: Add retry to uploader\n",
        "title: yes\n",
        "title: 12\n",
        "a: b\na: c\n",
        "title: null\n",
        "n: 1\n",
        "title: a/b (c)\nx: y\n",
    ],
)
def test_the_short_way_through_front_matter_agrees_with_yaml(body: str) -> None:
    from journal import front

    short = front._read_plain(body)
    try:
        full = front._read_yaml(body)
    except ValueError:
        full = None
    assert short is None or short == full


def test_front_matter_values_are_plain() -> None:
    front = Journal.parse(b"---\nday: 2026-01-02\nn: 1_000\nx: ~\nl: [a, {b: 2.5}]\n---\n").front
    assert json.loads(json.dumps(front)) == {
        "day": "2026-01-02",
        "n": 1000,
        "x": None,
        "l": ["a", {"b": 2.5}],
    }


def test_keys_of_cells_without_an_id_differ_and_survive_other_edits() -> None:
    journal = Journal.parse(b"```sh {}\nmake\n```\n\n```sh {}\nmake\n```\n\n```sh {}\nls\n```\n")
    keys = [cell.key for cell in journal.cells]
    assert len(set(keys)) == 3
    edited, _ = journal.insert(None, "note", text="before")
    assert [cell.key for cell in edited.cells[1:]] == keys


def test_opening_a_journal_loads_no_yaml_library() -> None:
    code = "import sys; from journal.document import Journal; Journal.parse(sys.stdin.buffer.read()).title; "
    code += "print([name for name in sys.modules if name.startswith(('ruamel', 'markdown_it', 'textual'))])"
    done = subprocess.run([sys.executable, "-c", code], input=EXAMPLE, capture_output=True, check=True)
    assert done.stdout.strip() == b"[]"


def test_the_page_about_the_format_names_every_kind_and_key() -> None:
    from journal.cells import MARKED_KINDS, RESERVED_KINDS, STATES

    page = (Path(__file__).parents[2] / "docs" / "journal-format.md").read_text(encoding="utf-8")
    keys = ("id", "kind", "state", "name", "src", "lines", "symbol", "sha256", "output", "title", "journal")
    for word in (*MARKED_KINDS, *RESERVED_KINDS, *STATES, "sh", "bash", "python", *keys):
        assert f"`{word}`" in page, f"{word} is not in docs/journal-format.md"
    for scheme in ("pypi:", "gh:", "gl:", "jira:", "file:", "https:", "man:", "cmd:"):
        assert f"`{scheme}" in page, f"{scheme} is not in docs/journal-format.md"


def test_the_journal_on_the_page_about_the_format_is_one() -> None:
    page = (Path(__file__).parents[2] / "docs" / "journal-format.md").read_text(encoding="utf-8")
    example = page.split("`````markdown\n")[1].split("`````")[0]
    journal = Journal.parse(example.encode())
    assert journal.problems == ()
    kinds = {cell.kind for cell in journal.cells}
    assert {"front", "step", "note", "ticket", "doc", "source", "sh", "output"} <= kinds
