"""The context of a step, from the example repository and from journals made for it, and its command."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from journal.context import SUMMARIES, Snapshot, reference_paths, snapshot
from journal.document import Journal
from journal.workspace import Workspace

EXAMPLE = Path(__file__).parents[2] / "examples" / "ledger"

JOURNAL = """---
journal: 1
title: Add retry
---

Uploads fail now and then.

Second paragraph, not in the summary.

<!-- journal:{"kind":"doc","src":"docs/all.md"} -->

<!-- journal:{"id":"aaaa","kind":"step","state":"done"} -->
## Reproduce

<!-- journal:{"kind":"ticket","src":"file:ticket.md"} -->

### A heading

It fails on 503.

<!-- journal:{"id":"dddd","kind":"step","state":"dropped"} -->
## Dropped

<!-- journal:{"id":"bbbb","kind":"step","state":"doing"} -->
## Write it

<!-- journal:{"kind":"source","src":"up.py","symbol":"send"} -->

Retry three times.

<!-- journal:{"kind":"doc","src":"docs/retry.md"} -->

```sh {"id":"cccc","name":"tests"}
pytest
```

<!-- journal:{"kind":"doc","src":"cmd:tests"} -->

Then stop.

<!-- journal:{"id":"eeee","kind":"step"} -->
## Later

<!-- journal:{"kind":"doc","src":"docs/later.md"} -->
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "all.md").write_text("for every step\n")
    (tmp_path / "docs" / "retry.md").write_text("how to retry\n")
    (tmp_path / "docs" / "later.md").write_text("later\n")
    (tmp_path / "ticket.md").write_text("# 7: Uploads fail\n")
    (tmp_path / "up.py").write_text("import os\n\n\ndef send():\n    pass\n")
    (tmp_path / "retry.journal.md").write_text(JOURNAL)
    workspace = Workspace(tmp_path)
    output = workspace.state.folder / "tests.txt"
    output.write_text("1 failed\n")
    values = {"kind": "sh", "ms": 1.0, "source_digest": "", "output_path": str(output)}
    workspace.state.record_run("retry.journal.md", "cccc", exit=1, **values)  # type: ignore[arg-type]
    yield workspace
    workspace.close()


def take(workspace: Workspace, step: str | None = "bbbb", text: str = JOURNAL) -> Snapshot:
    journal = Journal.parse(text.encode())
    path = workspace.root / "retry.journal.md"
    chosen = journal.step(step) if step else None
    return snapshot(journal, path=path, workspace=workspace, step=chosen)


def test_the_context_of_a_step_is_ordered_with_the_most_relevant_last(workspace: Workspace) -> None:
    taken = take(workspace)
    assert [(document.kind, document.name) for document in taken.documents] == [
        ("summary", "retry/journal.md"),
        ("summary", "retry/1-reproduce.md"),
        ("ticket", "ticket.md"),
        ("output", "outputs/tests.txt"),
        ("note", "retry/3-write-it.md"),
        ("doc", "docs/all.md"),
        ("doc", "docs/retry.md"),
        ("source", "up.py"),
    ]
    texts = {document.name: document.text for document in taken.documents}
    assert texts["retry/journal.md"] == "# Add retry\n\nUploads fail now and then.\n"
    assert texts["retry/1-reproduce.md"] == "## Reproduce (done)\n\nIt fails on 503.\n"
    assert texts["retry/3-write-it.md"] == "## Write it\n\nRetry three times.\n\nThen stop.\n"
    assert texts["outputs/tests.txt"] == "$ pytest\n1 failed\n[exit 1]\n"
    assert texts["up.py"] == "def send():\n    pass\n"
    assert taken.problems == ()
    assert {entry.drift for entry in taken.entries} == {"", "unpinned"}


def test_another_step_has_another_context(workspace: Workspace) -> None:
    names = [document.name for document in take(workspace, "aaaa").documents]
    assert names == ["retry/journal.md", "ticket.md", "retry/1-reproduce.md", "docs/all.md"]
    assert take(workspace, "aaaa").digest != take(workspace).digest


def test_the_same_files_give_the_same_digest_and_a_change_another(workspace: Workspace) -> None:
    first = take(workspace)
    assert take(workspace).digest == first.digest
    assert take(workspace).documents == first.documents
    (workspace.root / "docs" / "retry.md").write_text("how to retry, changed\n")
    assert take(workspace).digest != first.digest
    (workspace.root / "docs" / "retry.md").write_text("how to retry\n")
    assert take(workspace).digest == first.digest


def test_what_drifted_says_so_and_is_current(workspace: Workspace) -> None:
    pinned = JOURNAL.replace('"docs/retry.md"', '"docs/retry.md","sha256":"0123abcd"')
    taken = take(workspace, text=pinned)
    entry = next(entry for entry in taken.entries if entry.document.name == "docs/retry.md")
    assert entry.drift == "drifted"
    assert entry.document.text == "how to retry\n"
    assert taken.problems[0].startswith("line 31: docs/retry.md changed since it was pinned")


def test_what_is_missing_is_a_problem_and_the_rest_stays(workspace: Workspace) -> None:
    (workspace.root / "docs" / "retry.md").unlink()
    taken = take(workspace)
    assert taken.problems == ("line 31: docs/retry.md does not exist",)
    assert [found.reference.src for found in taken.missing] == ["docs/retry.md"]
    assert len(taken.documents) == 7


def test_a_journal_without_steps_is_one_context(workspace: Workspace) -> None:
    text = '# Notes\n\nJust this.\n\n<!-- journal:{"kind":"source","src":"up.py"} -->\n'
    taken = take(workspace, None, text)
    assert [(document.kind, document.name) for document in taken.documents] == [
        ("note", "retry/journal.md"),
        ("source", "up.py"),
    ]
    assert take(workspace, None, "").documents == ()


def test_a_reference_given_twice_is_taken_once(workspace: Workspace) -> None:
    text = JOURNAL.replace("docs/all.md", "docs/retry.md")
    names = [document.name for document in take(workspace, text=text).documents]
    assert names.count("docs/retry.md") == 1


def test_many_steps_and_long_words_are_bounded(workspace: Workspace) -> None:
    step = '<!-- journal:{{"id":"s{0}","kind":"step"}} -->\n## Step {0}\n\n' + "word " * 1000 + "\n\n"
    text = "".join(step.format(number) for number in range(10, 30))
    taken = take(workspace, "s29", text)
    summaries = [document for document in taken.documents if document.kind == "summary"]
    assert len(summaries) == SUMMARIES
    assert all(len(document.text) < 700 for document in summaries)
    assert len(taken.documents[-1].text) < 6100


def test_secrets_in_notes_are_taken_out(workspace: Workspace) -> None:
    token = "ghp_" + "a1B2" * 9
    taken = take(workspace, text=JOURNAL.replace("Retry three times.", f"Use {token}."))
    assert not any(token in document.text for document in taken.documents)


def test_the_files_worth_watching(workspace: Workspace) -> None:
    (workspace.root / "docs" / "later.md").unlink()
    path = workspace.root / "retry.journal.md"
    found = reference_paths(Journal.parse(JOURNAL.encode()), path=path, workspace=workspace)
    assert [path.relative_to(workspace.root).as_posix() for path in found] == [
        "docs/all.md",
        "ticket.md",
        "up.py",
        "docs/retry.md",
        "docs/later.md",
    ]


@given(data=st.data())
def test_any_journal_has_a_context(data: st.DataObject, journal_bytes: st.SearchStrategy[bytes]) -> None:
    journal = Journal.parse(data.draw(journal_bytes))
    step = data.draw(st.sampled_from([None, *journal.steps]))
    root = Path(__file__).parent
    workspace = Workspace(root)
    workspace.__dict__["state"] = _NoState()
    taken = snapshot(journal, path=root / "a.journal.md", workspace=workspace, step=step)
    assert all(document.text.strip() for document in taken.documents if document.kind in {"note", "summary"})
    assert all("\n" not in problem for problem in taken.problems)


class _NoState:
    """A state in which nothing was ever recorded."""

    problems: tuple[str, ...] = ()

    def last_run(self, *_: object) -> None: ...
    def pinned_text(self, *_: object) -> None: ...
    def remember_pin(self, *_: object) -> None: ...


@pytest.fixture
def example(tmp_path: Path, isolated_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the example repository, and nobody's models or settings."""
    shutil.copytree(EXAMPLE, tmp_path / "ledger", ignore=shutil.ignore_patterns(".steerway", "__pycache__"))
    monkeypatch.chdir(tmp_path / "ledger")
    return tmp_path / "ledger"


def run(*arguments: str) -> Result:
    from journal.commands.context import context

    return CliRunner().invoke(context, arguments)


def report(*arguments: str) -> dict[str, Any]:
    result = run("--json", *arguments)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)  # type: ignore[no-any-return]


def test_the_command_prints_what_a_program_needs(example: Path) -> None:
    found = report("--journal", "refunds.journal.md", "--step", "2", "--model", "fake")
    assert found["step_title"] == "Write the refund"
    assert found["step_state"] == "todo"
    assert not found["estimated"]
    assert found["used_tokens"] == sum(document["tokens"] for document in found["documents"])
    assert found["used_tokens"] <= found["budget_tokens"]
    assert found["problems"] == []
    kinds = [document["kind"] for document in found["documents"]]
    assert kinds[-1] == "source"
    assert "ticket" in kinds
    assert {"name", "kind", "tokens", "origin", "version", "drift", "cut_tokens"} <= set(
        found["documents"][0]
    )


def test_the_command_shows_a_table(example: Path) -> None:
    result = run("--journal", "month-end.journal.md", "--step", "2", "--model", "fake")
    assert result.exit_code == 0
    assert "rich/table.py" in result.stdout
    assert "tokens (fake)" in result.stdout
    assert "cmd:repro has no output yet" in result.stderr


def test_without_the_model_tokens_are_estimated_and_it_says_so(example: Path) -> None:
    found = report("--journal", "refunds.journal.md")
    assert found["estimated"]
    assert found["problems"][-1].startswith("tokens are estimated: ")
    assert found["used_tokens"] > 0


def test_a_drift_is_shown_with_its_diff(example: Path) -> None:
    journal = example / "a.journal.md"
    (example / "page.md").write_text("one\n")
    pin = "2c8b08da5ce60398e1f19af0e5dccc744df274b826abe585eaba68c525434806"  # sha256 of "one\n"
    journal.write_text(f'<!-- journal:{{"kind":"doc","src":"page.md","sha256":"{pin[:8]}"}} -->\n')
    assert report("--journal", str(journal))["documents"][0]["drift"] == "same"
    (example / "page.md").write_text("two\n")
    found = report("--journal", str(journal), "--diff")
    assert found["documents"][0]["drift"] == "drifted"
    assert "-one\n+two\n" in found["documents"][0]["diff"]
    shown = run("--journal", str(journal), "--diff", "--model", "fake").stdout
    assert "drifted" in shown
    assert "+two" in shown


def test_a_step_without_an_id_is_named_by_its_key(example: Path) -> None:
    (example / "b.journal.md").write_text('<!-- journal:{"kind":"step"} -->\n## Only\n')
    found = report("--journal", "b.journal.md")
    assert found["step"].startswith("@")
    assert found["documents"] == []


def test_no_journal_and_no_repository_are_one_line_each(
    tmp_path: Path, isolated_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine.errors import UsageError

    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    monkeypatch.setattr("journal.workspace._is_root", lambda folder: (folder / ".git").exists())
    error = run().exception
    assert isinstance(error, UsageError)
    assert error.exit_code == 2
    assert str(error).startswith(f"no git repository and no journal at {empty}: create one with")

    (empty / ".git").mkdir()
    error = run().exception
    assert isinstance(error, UsageError)
    assert str(error).startswith(f"no journal in {empty}: create one with")
