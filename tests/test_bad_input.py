"""Bad input gets one clear line and an exit code, and loses nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli import complaint, steerway

JOURNAL = """---
journal: 1
title: A step
---

<!-- journal:{"id":"a2b3","kind":"step","state":"doing"} -->
## Only step

```sh {"id":"c4d5","name":"hello"}
echo hello
```
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A workspace that is no git repository, with one journal and one source file."""
    (tmp_path / "work").mkdir()
    (tmp_path / "work/step.journal.md").write_text(JOURNAL)
    (tmp_path / "work/code.py").write_text("import os\n\n\ndef main():\n    os.\n")
    return tmp_path / "work"


def test_a_model_that_is_not_a_gguf(folder: Path) -> None:
    (folder / "model.gguf").write_bytes(b"not a model" * 100)
    done = steerway("complete", "code.py:5:8", "--model", "model.gguf", cwd=folder)
    assert done.returncode == 5
    assert "model.gguf" in complaint(done)


def test_a_model_cut_short(folder: Path, small_model: Path) -> None:
    (folder / "cut.gguf").write_bytes(small_model.read_bytes()[:5_000_000])
    done = steerway("complete", "code.py:5:8", "--model", "cut.gguf", cwd=folder)
    assert done.returncode == 5
    assert "cut" in complaint(done)


def test_a_model_that_is_not_on_this_machine(folder: Path, isolated_home: Path) -> None:
    done = steerway("complete", "code.py:5:8", cwd=folder, env={"STEERWAY_HOME": str(isolated_home)})
    assert done.returncode == 5
    assert "steerway model pull" in complaint(done)


def test_an_unknown_model(folder: Path) -> None:
    done = steerway("complete", "code.py:5:8", "--model", "no-such-model", cwd=folder)
    assert done.returncode == 5
    assert "no-such-model" in complaint(done)


@pytest.mark.parametrize("place", ["code.py", "code.py:0:1", "code.py:99:1", "code.py:1:99", "none.py:1:1"])
def test_a_place_that_is_none(folder: Path, place: str) -> None:
    done = steerway("complete", place, "--model", "fake", cwd=folder)
    assert done.returncode == 2
    complaint(done)


def test_a_journal_that_cannot_be_read(folder: Path) -> None:
    (folder / "folder.journal.md").mkdir()
    for name in ("folder.journal.md", "missing.journal.md"):
        for command in (["context", "--journal", name], ["run", name, "--trust"]):
            done = steerway(*command, cwd=folder)
            assert done.returncode == 2
            assert name in complaint(done)


def test_a_folder_without_a_journal(tmp_path: Path) -> None:
    done = steerway("context", cwd=tmp_path)
    assert done.returncode == 2
    assert "steerway new" in complaint(done)


def test_an_unknown_kind_of_cell_is_not_run(folder: Path) -> None:
    unknown = '\n```cobol {"id":"e6f7","name":"old"}\nDISPLAY "X".\n```\n'
    (folder / "step.journal.md").write_text(JOURNAL + unknown)
    done = steerway("run", "step.journal.md", "--cell", "old", "--trust", cwd=folder)
    assert done.returncode == 2
    assert "cobol" in complaint(done)


def test_an_unknown_cell_and_step(folder: Path) -> None:
    for arguments in (["--cell", "nothing"], ["--step", "nothing"]):
        done = steerway("run", "step.journal.md", *arguments, "--trust", cwd=folder)
        assert done.returncode == 2
        assert "nothing" in complaint(done)


def test_a_kernel_that_dies(folder: Path) -> None:
    dying = '\n```python {"id":"e6f7","name":"die"}\nimport os; os._exit(3)\n```\n'
    (folder / "step.journal.md").write_text(JOURNAL + dying)
    done = steerway("run", "step.journal.md", "--json", "--trust", cwd=folder)
    assert done.returncode == 4
    cells = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(cell["name"], cell["exit"] == 0) for cell in cells] == [("hello", True), ("die", False)]
    assert "Traceback" not in done.stderr


def test_a_file_without_a_grammar_is_completed_all_the_same(folder: Path) -> None:
    (folder / "page.zig").write_text("const std = @import(\n")
    done = steerway("complete", "page.zig:1:21", "--model", "fake", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "text" in json.loads(done.stdout)


def test_no_git_repository_is_needed(folder: Path) -> None:
    done = steerway("run", "step.journal.md", "--trust", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["output"].strip() == "hello"


def test_a_folder_that_may_not_be_written(folder: Path) -> None:
    folder.chmod(0o500)
    try:
        done = steerway("run", "step.journal.md", "--trust", "--json", cwd=folder)
        assert done.returncode == 0
        assert json.loads(done.stdout)["output"].strip() == "hello"
        refused = steerway("new", "other", cwd=folder)
        assert refused.returncode == 2
        assert "other" in complaint(refused)
        assert not list(folder.glob("other*"))
    finally:
        folder.chmod(0o700)


def test_nothing_runs_without_trust(folder: Path, isolated_home: Path) -> None:
    done = steerway("run", "step.journal.md", cwd=folder, env={"STEERWAY_HOME": str(isolated_home)})
    assert done.returncode == 2
    assert "--trust" in complaint(done)


def test_a_journal_in_a_folder_everybody_may_write_to_is_not_picked_up(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    (shared / "mine").mkdir(parents=True)
    (shared / "theirs.journal.md").write_text(JOURNAL)
    shared.chmod(0o1777)
    done = steerway("context", cwd=shared / "mine")
    assert done.returncode == 2
    assert "steerway new" in complaint(done)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("bogus",), "no such command 'bogus': `steerway --help` shows what can be given"),
        (("run", "--bogus"), "no such option '--bogus': `steerway run --help` shows what can be given"),
        (
            ("run", "--timeout", "0"),
            "invalid value for '--timeout': 0.0 is not in the range x>0: `steerway run",
        ),
        (("model", "info"), "missing argument 'NAME|PATH': `steerway model info --help`"),
    ],
)
def test_wrong_arguments(folder: Path, arguments: tuple[str, ...], said: str) -> None:
    done = steerway(*arguments, cwd=folder)
    assert done.returncode == 2
    assert said in complaint(done)
