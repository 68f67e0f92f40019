"""`steerway new`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from journal.document import Journal

pytestmark = pytest.mark.usefixtures("isolated_home")


def new(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from journal.cli import main; main()", "new", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment, check=False)


def test_new_makes_a_journal_with_a_first_step(tmp_path: Path) -> None:
    done = new("fix-upload", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "fix-upload.journal.md\n"
    assert "steerway fix-upload.journal.md" in done.stderr
    journal = Journal.parse((tmp_path / "fix-upload.journal.md").read_bytes())
    assert journal.title == "Fix upload"
    assert [cell.kind for cell in journal.cells] == ["front", "step", "note", "sh"]
    assert journal.problems == ()


def test_what_to_type_next_can_be_typed(tmp_path: Path) -> None:
    assert "`steerway 'my note.journal.md'` opens it" in new("my note", folder=tmp_path).stderr


def test_json(tmp_path: Path) -> None:
    done = new("--title", "Naïve: retry # 1", "--json", folder=tmp_path)
    said = json.loads(done.stdout)
    journal = Journal.parse((tmp_path / said["path"]).read_bytes())
    assert said["title"] == journal.title == "Naïve: retry # 1"
    assert journal.step(said["step"]).meta["state"] == "doing"
    assert said["path"] == "naïve-retry-1.journal.md"


def test_a_file_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "a.journal.md").write_text("mine")
    done = new("a", folder=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("steerway: a.journal.md exists already: ")
    assert done.stderr.count("\n") == 1
    assert (tmp_path / "a.journal.md").read_text() == "mine"


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    done = new("none/a", folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(
        "steerway: none/a.journal.md could not be saved (No such file or directory): "
    )
    assert done.stderr.count("\n") == 1
