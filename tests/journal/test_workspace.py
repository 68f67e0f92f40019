"""Which folder is the workspace, which journal is active, which step its user is at."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from journal.document import Journal
from journal.workspace import Workspace

JOURNAL = b"""<!-- journal:{"id":"aaaa","kind":"step","state":"done"} -->
## One

<!-- journal:{"id":"bbbb","kind":"step","state":"todo"} -->
## Two

<!-- journal:{"id":"cccc","kind":"step","state":"doing"} -->
## Three
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "repo" / ".git").mkdir(parents=True)
    return tmp_path / "repo"


@pytest.fixture
def workspace(root: Path) -> Iterator[Workspace]:
    found = Workspace(root)
    yield found
    found.close()


def put(path: Path, data: bytes = JOURNAL, *, mtime: int | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    if mtime is not None:
        os.utime(path, (mtime, mtime))
    return path


def test_the_nearest_repository_or_folder_with_a_journal_is_the_root(root: Path) -> None:
    source = put(root / "src" / "deep" / "up.py")
    assert Workspace.find(source).root == root
    put(root / "src" / "retry.journal.md")
    assert Workspace.find(source).root == root / "src"
    assert Workspace.find(source).boundary == root
    assert Workspace.find(root / "not" / "there.py").root == root


def test_a_folder_with_nothing_in_it_is_its_own_root(tmp_path: Path) -> None:
    assert Workspace.find(tmp_path).root == tmp_path
    assert not Workspace.find(tmp_path).in_repository
    assert Workspace.find(tmp_path / "not" / "there").root == tmp_path / "not" / "there"
    assert Workspace.find(put(tmp_path / "a.py", b"")).root == tmp_path


def test_what_lies_in_a_folder_of_everybody_is_not_the_workspace_of_those_below(tmp_path: Path) -> None:
    shared, mine = tmp_path / "shared", tmp_path / "shared" / "mine"
    mine.mkdir(parents=True)
    put(shared / "theirs.journal.md")
    assert Workspace.find(mine).root == shared
    shared.chmod(0o1777)
    assert Workspace.find(mine).root == mine
    assert Workspace.find(shared).root == shared
    (shared / ".git").mkdir()
    assert Workspace.find(mine).boundary == mine


def test_journals_leave_out_environments(workspace: Workspace, root: Path) -> None:
    kept = [put(root / "a.journal.md"), put(root / "docs" / "b.journal.md")]
    for hidden in (".git", ".venv", "node_modules/x", "build"):
        put(root / hidden / "c.journal.md")
    put(root / "my-env" / "pyvenv.cfg")
    put(root / "my-env" / "d.journal.md")
    assert workspace.journals() == kept


def test_the_active_journal(workspace: Workspace, root: Path) -> None:
    assert workspace.active_journal() is None
    first = put(root / "a.journal.md", mtime=1000)
    assert workspace.active_journal() == first
    second = put(root / "b.journal.md", mtime=2000)
    assert workspace.active_journal() == second
    workspace.set_active(first)
    assert workspace.active_journal() == first
    first.unlink()
    assert workspace.active_journal() == second


def test_the_current_step(workspace: Workspace, root: Path) -> None:
    path = put(root / "a.journal.md")
    journal = Journal.parse(JOURNAL)
    one, two, three = journal.steps
    assert workspace.current_step(path, journal) == three
    workspace.set_current_step(path, one)
    assert workspace.current_step(path, journal) == one
    workspace.set_current_step(path, None)
    assert workspace.current_step(path, journal) == three

    todo = Journal.parse(JOURNAL.replace(b"doing", b"done"))
    assert workspace.current_step(path, todo) == todo.steps[1]
    done = Journal.parse(JOURNAL.replace(b"doing", b"done").replace(b"todo", b"done"))
    assert workspace.current_step(path, done) == done.steps[-1]
    assert workspace.current_step(path, Journal.parse(b"no steps")) is None
    assert two.title == "Two"
