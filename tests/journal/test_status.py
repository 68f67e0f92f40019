"""`steerway status`: what Steerway would use here, now."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from journal.document import Journal
from journal.workspace import Workspace
from tests.cli import complaint, steerway

JOURNAL = """---
journal: 1
title: Retry
---

<!-- journal:{"id":"s001","kind":"step","state":"done"} -->
## Reproduce

```sh {"id":"c001","name":"repro"}
false
```

<!-- journal:{"id":"s002","kind":"step"} -->
## Mend

```sh {}
sleep 60
```

```sh {"id":"c003"}
true
```
"""


@pytest.fixture
def folder(tmp_path: Path, isolated_home: Path) -> Path:
    (tmp_path / "work/.git").mkdir(parents=True)
    (tmp_path / "work/retry.journal.md").write_text(JOURNAL)
    return tmp_path / "work"


def ran(folder: Path, ref: str, exit: int | None) -> None:
    journal = Journal.parse(JOURNAL.encode())
    workspace = Workspace.find(folder)
    cell = journal.cell(ref)
    workspace.state.record_run(
        "retry.journal.md", cell.key, kind="sh", exit=exit, ms=1234.6, source_digest="", output_path=""
    )
    workspace.close()


def test_status_shows_journal_step_runs_model_and_state(folder: Path) -> None:
    ran(folder, "repro", 1)
    ran(folder, "#5", None)
    done = steerway("status", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    shown = done.stdout.splitlines()
    assert shown[:4] == [
        f"workspace  {folder}",
        "journal    retry.journal.md  Retry",
        "steps        1 ● Reproduce",
        "           ▶ 2 ○ Mend",
    ]
    assert shown[4].startswith("last runs  repro  exit 1           1.24 s  20")
    assert shown[5].split()[:2] == ["#5", "interrupted"]
    assert shown[6] == "           c003   never"
    assert shown[7].startswith("model      ")
    assert shown[8].startswith("llama.cpp  ")
    assert shown[9].startswith("reuse      ")
    assert shown[-1] == f"state      {folder}/.steerway/state.db"


def test_json_has_all_of_it(folder: Path) -> None:
    ran(folder, "repro", 1)
    said = json.loads(steerway("status", "--json", cwd=folder).stdout)
    assert (said["journal"], said["title"], said["step"]) == ("retry.journal.md", "Retry", "s002")
    assert [(step["id"], step["state"], step["current"]) for step in said["steps"]] == [
        ("s001", "done", False),
        ("s002", "todo", True),
    ]
    assert [(run["cell"][:4], run["exit"], run["ms"]) for run in said["runs"]][::2] == [
        ("c001", 1, 1235),
        ("c003", None, None),
    ]
    assert said["state"] == f"{folder}/.steerway/state.db"
    assert {"model", "llama_cpp", "features", "running", "reuse", "documents"} <= said["engine"].keys()
    assert said["engine"]["running"] is False


def test_without_a_journal_status_says_how_to_make_one(folder: Path) -> None:
    (folder / "retry.journal.md").unlink()
    done = steerway("status", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert "journal    none: create one with `steerway new NAME`" in done.stdout


def test_other_journals_are_listed(folder: Path) -> None:
    for number in range(7):
        (folder / f"a{number}.journal.md").write_text("")
    shown = steerway("status", "--journal", "retry.journal.md", cwd=folder).stdout
    assert "others     a0.journal.md\n" in shown
    assert "           and 2 more\n" in shown


def test_a_journal_that_is_not_there_is_one_line(folder: Path) -> None:
    done = steerway("status", "--journal", "none.journal.md", cwd=folder)
    assert done.returncode == 2
    assert "none.journal.md" in complaint(done)
