"""Pins: a reference whose text moved is drifted, shows what changed, and is never used as if it had not."""

import hashlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from journal.document import Journal
from journal.references import Resolved, parse_reference, pin, resolve
from journal.state import State

TEXT = "one\ntwo\nthree\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "repo"
    root.mkdir()
    (root / "page.md").write_text(TEXT)
    return root


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    with State(tmp_path / "state" / "state.db") as state:
        yield state


def read(root: Path, state: State | None = None, **meta: object) -> Resolved:
    marker = f"<!-- journal:{json.dumps({'kind': 'doc', 'src': 'page.md', **meta})} -->\n"
    return resolve(parse_reference(Journal.parse(marker.encode()).cells[0]), root=root, state=state)


def test_a_pinned_text_that_changes_is_drifted_and_the_change_is_shown(root: Path, state: State) -> None:
    sha256 = pin(read(root).reference, root=root, state=state)
    assert hashlib.sha256(TEXT.encode()).hexdigest().startswith(sha256)
    assert read(root, state, sha256=sha256).drift == "same"

    (root / "page.md").write_text("one\n2\nthree\n")
    found = read(root, state, sha256=sha256)
    assert found.drift == "drifted"
    assert found.problem == "page.md changed since it was pinned"
    assert found.diff.splitlines() == [
        f"--- page.md (pinned {sha256})",
        f"+++ page.md (now {found.sha256[:12]})",
        "@@ -1,3 +1,3 @@",
        " one",
        "-two",
        "+2",
        " three",
    ]
    assert found.document is not None
    assert found.document.text == "one\n2\nthree\n"
    assert found.document.version == found.sha256[:12]


def test_a_text_never_read_here_is_looked_up_in_git(root: Path) -> None:
    def git(*arguments: str) -> None:
        identity = ("-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false")
        subprocess.run(["git", *identity, *arguments], cwd=root, check=True, capture_output=True)

    git("init", "-q")
    git("add", "page.md")
    git("commit", "-qm", "one")
    sha256 = read(root, lines="2-3").sha256[:8]
    (root / "page.md").write_text("one\n2\nthree\n")
    git("commit", "-qam", "two")
    (root / "page.md").write_text("one\n2\n3\n")

    found = read(root, lines="2-3", sha256=sha256)
    assert found.drift == "drifted"
    assert "-two\n-three\n+2\n+3\n" in found.diff


def test_a_text_known_nowhere_is_said_to_be(root: Path, state: State) -> None:
    found = read(root, state, sha256="deadbeef")
    assert (found.drift, found.diff) == ("drifted", "")
    assert found.problem == "page.md changed since it was pinned (what it was then is not known here)"


def test_lines_elsewhere_in_the_file_do_not_matter(root: Path) -> None:
    sha256 = read(root, lines="1").sha256[:8]
    (root / "page.md").write_text("one\nother\n")
    assert read(root, lines="1", sha256=sha256).drift == "same"


def test_a_symbol_that_only_moved_is_the_same(root: Path) -> None:
    (root / "up.py").write_text("def send():\n    return 1\n")
    sha256 = read(root, src="up.py", symbol="send").sha256[:8]
    (root / "up.py").write_text("import os\n\n\ndef send():\n    return 1\n")
    assert read(root, src="up.py", symbol="send", sha256=sha256).drift == "same"


def test_the_diff_of_a_method_is_of_the_method_alone(root: Path, state: State) -> None:
    path = root / "up.py"
    path.write_text("class Up:\n    def send(self):\n        return 1\n")
    reference = read(root, src="up.py", symbol="Up.send").reference
    sha256 = pin(reference, root=root, state=state)
    path.write_text("class Up(Base):\n    def send(self):\n        return 2\n")
    found = read(root, state, src="up.py", symbol="Up.send", sha256=sha256)
    assert [line for line in found.diff.splitlines() if line[:1] in "+-"][2:] == [
        "-        return 1",
        "+        return 2",
    ]
    assert found.document is not None
    assert found.document.text.startswith("class Up(Base):\n")


def test_a_ticket_drifts_too(root: Path, state: State) -> None:
    (root / "7.json").write_text('{"title": "T", "body": "one"}')
    sha256 = pin(read(root, src="file:7.json").reference, root=root, state=state)
    (root / "7.json").write_text('{"title": "T", "body": "two"}')
    found = read(root, state, src="file:7.json", sha256=sha256)
    assert found.drift == "drifted"
    assert "-one\n+two\n" in found.diff


def test_a_pin_in_capitals_is_the_same_pin(root: Path) -> None:
    assert read(root, sha256=read(root).sha256[:12].upper()).drift == "same"


def test_a_file_that_went_away_is_missing(root: Path, state: State) -> None:
    sha256 = pin(read(root).reference, root=root, state=state)
    (root / "page.md").unlink()
    found = read(root, state, sha256=sha256)
    assert (found.document, found.drift) == (None, "missing")
    assert pin(found.reference, root=root, state=state) == ""


def test_a_change_within_the_same_moment_is_seen(root: Path) -> None:
    seen = set()
    for number in range(20):
        (root / "page.md").write_text(f"{number:04}\n")
        seen.add(read(root).sha256)
    assert len(seen) == 20


def test_secrets_do_not_reach_the_state(root: Path, state: State) -> None:
    token = "ghp_" + "a1B2" * 9
    (root / "page.md").write_text(f"the token is {token}\n")
    pin(read(root).reference, root=root, state=state)
    state.close()
    assert not any(token.encode() in path.read_bytes() for path in state.folder.iterdir())
