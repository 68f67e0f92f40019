"""Tickets in files, outputs of cells, examples inside pages."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journal.document import Journal
from journal.references import Resolved, parse_reference, resolve
from journal.resolvers import examples
from journal.resolvers.content import ReferenceProblem
from journal.resolvers.tickets import from_json
from journal.state import State


def read(root: Path, src: str, kind: str = "ticket") -> Resolved:
    marker = f"<!-- journal:{json.dumps({'kind': kind, 'src': src})} -->\n"
    return resolve(parse_reference(Journal.parse(marker.encode()).cells[0]), root=root)


GITHUB = {
    "number": 142,
    "title": "Uploads fail on 503",
    "state": "open",
    "labels": [{"name": "bug"}],
    "body": "They do.\r\nAlways.",
    "comments": [{"user": {"login": "ada"}, "body": "Seen too."}],
}
JIRA = {
    "key": "UP-7",
    "fields": {
        "summary": "Uploads fail",
        "status": {"name": "To Do"},
        "description": {
            "type": "doc",
            "content": [{"type": "paragraph", "content": [{"type": "text", "text": "They do."}]}],
        },
        "comment": {"comments": [{"author": {"displayName": "Ada"}, "body": "Seen."}]},
    },
}


def test_a_json_ticket_is_read_as_a_person_would_write_it(tmp_path: Path) -> None:
    (tmp_path / "142.json").write_text(json.dumps(GITHUB))
    found = read(tmp_path, "file:142.json")
    assert found.document is not None
    assert found.document.text == (
        "# 142: Uploads fail on 503\n\nState: open\nLabels: bug\n\nThey do.\nAlways.\n\n"
        "## Comments\n\nada: Seen too.\n"
    )
    assert (found.document.kind, found.document.name) == ("ticket", "142.md")


def test_other_trackers_write_json_too() -> None:
    assert from_json(json.dumps(JIRA), "x") == (
        "# UP-7: Uploads fail\n\nState: To Do\n\nThey do.\n\n## Comments\n\nAda: Seen.\n"
    )
    gitlab = {
        "iid": 3,
        "title": "T",
        "description": "D",
        "notes": [{"author": {"username": "ada"}, "body": "N"}],
    }
    assert from_json(json.dumps(gitlab), "x") == "# 3: T\n\nD\n\n## Comments\n\nada: N\n"


def test_a_markdown_ticket_stands_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "7.md").write_text("# 7: Refunds\n\nPlease.\n")
    (tmp_path / "8.md").write_text('---\ntitle: "Eight"\n---\nBody.\n')
    for src in ("file:7.md", "7.md"):
        found = read(tmp_path, src)
        assert found.document is not None
        assert found.document.text == "# 7: Refunds\n\nPlease.\n"
    eight = read(tmp_path, "file:8.md").document
    assert eight is not None
    assert eight.text == "# Eight\n\nBody.\n"


def test_half_characters_in_json_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text('{"title": "half \\ud83d one"}')
    found = read(tmp_path, "file:t.json")
    assert found.document is not None
    assert found.document.text == "# half ? one\n"
    assert found.document.digest


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{\n,}", "t.json is not JSON (line 2)"),
        ("[1, 2]", "t.json holds no ticket: an object with a title and a body is expected"),
        ('"x"', "t.json holds no ticket: an object"),
        ('{"a": 1}', "t.json holds no ticket: neither a title nor a body is in it"),
        ("[" * 100_000, "t.json is not JSON"),
    ],
)
def test_json_that_is_no_ticket_is_one_line(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "t.json").write_text(text)
    assert read(tmp_path, "file:t.json").problem.startswith(problem)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["title", "body", "comments", "author", "labels", "fields", "content", "text", "state"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(_json)
def test_any_json_is_a_ticket_or_a_problem(value: object) -> None:
    problem = ""
    try:
        text = from_json(json.dumps(value), "t")
    except ReferenceProblem as error:
        text, problem = "", str(error)
    assert bool(text.strip()) != bool(problem)
    assert "\n" not in problem


JOURNAL = b"""```sh {"id":"r5q8","name":"repro"}
pytest -x
```

```python {"id":"p1p1"}
print(1)
```

<!-- journal:{"id":"n3n3","kind":"doc","src":"a"} -->
"""


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    with State(tmp_path / ".steerway" / "state.db") as state:
        yield state


def output(root: Path, name: str, state: State | None, data: bytes = JOURNAL) -> Resolved:
    marker = b'<!-- journal:{"kind":"doc","src":"cmd:' + name.encode() + b'"} -->\n'
    reference = parse_reference(Journal.parse(marker).cells[0])
    path = root / "a.journal.md"
    return resolve(reference, root=root, journal=Journal.parse(data), state=state, path=path)


def record(state: State, text: str, exit: int, key: str = "r5q8") -> None:
    path = state.folder / f"{key}.txt"
    path.write_text(text)
    values = {"kind": "sh", "ms": 1.0, "source_digest": "", "output_path": str(path)}
    state.record_run("a.journal.md", key, exit=exit, **values)  # type: ignore[arg-type]


def test_the_output_of_a_named_cell(tmp_path: Path, state: State) -> None:
    record(state, "2 failed\n", 1)
    found = output(tmp_path, "repro", state)
    assert found.document is not None
    assert found.document.text == "$ pytest -x\n2 failed\n[exit 1]\n"
    assert (found.document.kind, found.document.name) == ("output", "outputs/repro.txt")


def test_a_long_output_keeps_its_head_and_its_tail(tmp_path: Path, state: State) -> None:
    record(state, "".join(f"line {number}\n" for number in range(20_000)), 0)
    found = output(tmp_path, "repro", state)
    assert found.document is not None
    text = found.document.text
    assert text.startswith("$ pytest -x\nline 0\n")
    assert text.endswith("line 19999\n")
    assert "bytes left out ...]" in text
    assert len(text) < 50_000


def test_a_pinned_output_stands_in_for_one_of_this_machine(tmp_path: Path, state: State) -> None:
    inline = JOURNAL + b'\n```text {"output":"r5q8"}\npinned inline\n```\n'
    found = output(tmp_path, "repro", state, inline)
    assert found.document is not None
    assert "pinned inline" in found.document.text

    folder = tmp_path / "a.journal.out"
    folder.mkdir()
    (folder / "p1p1.txt").write_text("pinned beside\n")
    found = output(tmp_path, "p1p1", None)
    assert found.document is not None
    assert found.document.text == "pinned beside\n"


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("repro", "cmd:repro has no output yet, run it: steerway run --cell repro"),
        ("nope", "cmd:nope: no cell 'nope' in this journal"),
        ("n3n3", "cmd:n3n3 is a doc cell, only code cells have output"),
    ],
)
def test_no_output_is_one_line(tmp_path: Path, state: State, name: str, problem: str) -> None:
    found = output(tmp_path, name, state)
    assert found.document is None
    assert found.problem.startswith(problem)


def test_an_output_without_a_journal_is_one_line(tmp_path: Path) -> None:
    assert read(tmp_path, "cmd:x", "doc").problem == "cmd:x needs a journal to look in"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Text.\n\n```python\nup.send(1)\n```\n", "up.send(1)"),
        ("Text.\n\n>>> up.send(1)\n2\n>>> x = 3\n", "up.send(1)\n# 2\nx = 3"),
        ("Example::\n\n    up.send(1)\n\nAfter.\n", "up.send(1)"),
        (".. code-block:: python\n   :linenos:\n\n   up.send(1)\n", "up.send(1)"),
        ("Examples:\n    up.send(1)\n    up.close()\nArgs:\n    x (int): y\n", "up.send(1)\nup.close()"),
        ("1. Item:\n\n   ```js\n   up.send(1);\n   ```\n", "up.send(1);"),
    ],
)
def test_runnable_examples_are_found(text: str, code: str) -> None:
    example = examples.first(text)
    assert example is not None
    assert example.code == code


@pytest.mark.parametrize(
    "text",
    ["", "No code.", "```sh\nls\n```", "```\nplain\n```", "```json\n{}\n```", "Note::\n\n    words only\n"],
)
def test_what_cannot_be_run_is_no_example(text: str) -> None:
    assert examples.first(text) is None


@given(st.text(alphabet="a`~> \n.:=()\t", max_size=80))
def test_leading_with_the_example_keeps_every_word(text: str) -> None:
    led, _ = examples.lead(text)
    assert sorted(led.split()) == sorted(text.split())


@pytest.mark.parametrize(
    "text",
    ["```python\n" * 50_000, ">>> x\n\n" * 50_000, "a::\n" * 50_000],
    ids=["open fences", "doctests", "literal blocks"],
)
def test_texts_made_to_be_slow_are_done_in_one_pass(text: str) -> None:
    led, _ = examples.lead(text)
    assert led
