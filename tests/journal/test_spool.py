"""Outputs on disk: whole, plain, redacted, and bounded together."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from journal.document import Journal
from journal.run.pin import shorten
from journal.run.recorder import HeadAndTail, Recorder
from journal.run.redact import MASK, Redactor, redact
from journal.run.result import Event, Output
from journal.run.spool import Spool, outputs_folder, prune
from journal.state import open_state
from journal.workspace import Workspace

CELL = Journal.parse(b'```sh {"id":"c1"}\nx\n```\n').cells[0]


def test_an_output_is_plain_text_with_its_colours_beside_it(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "c1")
    spool.write("\x1b[31mred\x1b[0m\n")
    spool.write("plain\n")
    assert spool.finish().read_text() == "red\nplain\n"
    assert (tmp_path / "c1.ansi").read_text() == "\x1b[31mred\x1b[0m\nplain\n"
    again = Spool(tmp_path, "c1")
    again.write("no colour\n")
    assert (tmp_path / "c1.txt").read_text() == "red\nplain\n"
    again.finish()
    assert [path.name for path in tmp_path.iterdir()] == ["c1.txt"]


def test_lines_can_be_taken_back(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "c1")
    spool.write("a\nb\nc\n")
    spool.rewind(2)
    spool.write("B\n")
    assert spool.finish().read_text() == "a\nB\n"
    all_of_it = Spool(tmp_path, "c2")
    all_of_it.write("a\nb\n")
    all_of_it.rewind(5)
    all_of_it.write("c\n")
    assert all_of_it.finish().read_text() == "c\n"


def test_past_its_limit_the_middle_is_left_out(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "c1", limit_bytes=10)
    spool.write("123456789\n")
    spool.write("left out\n")
    assert spool.finish("the tail\n").read_text() == "123456789\n\n[... 9 bytes left out ...]\nthe tail\n"


def test_the_oldest_outputs_go_first(tmp_path: Path) -> None:
    for age, name in enumerate(("new", "old", "older")):
        (tmp_path / name).write_text("x" * 100)
        os.utime(tmp_path / name, (1_000_000 - age, 1_000_000 - age))
    assert prune(tmp_path, limit_bytes=150) == 200
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_outputs_lie_beside_the_state_which_ignores_itself(tmp_path: Path) -> None:
    with open_state(tmp_path) as state:
        folder = outputs_folder(state.folder, "docs/work.journal.md")
        assert folder.is_relative_to(tmp_path / ".steerway" / "outputs")
        assert (tmp_path / ".steerway" / ".gitignore").read_text().endswith("*\n")
        assert folder != outputs_folder(state.folder, "other/work.journal.md")


def test_a_workspace_that_cannot_be_written(tmp_path: Path, isolated_home: Path) -> None:
    (tmp_path / ".steerway").write_text("a file in the way")
    with open_state(tmp_path) as state:
        assert outputs_folder(state.folder, "work.journal.md").is_relative_to(isolated_home / "state")


def test_a_folder_of_everybody_gets_no_state_of_ours(tmp_path: Path, isolated_home: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o1777)
    workspace = Workspace.find(tmp_path / "shared")
    assert outputs_folder(workspace.state.folder, "work.journal.md").is_relative_to(isolated_home)
    assert not list((tmp_path / "shared").iterdir())
    workspace.close()


def test_head_and_tail_are_exact() -> None:
    kept = HeadAndTail(100, 200)
    whole = "".join(f"line {number}\n" for number in range(1000))
    for start in range(0, len(whole), 37):
        kept.add(whole[start : start + 37])
    text = kept.text()
    assert text.startswith(whole[:100])
    assert whole.endswith(text[text.index("left out ...]\n") + 14 :])
    assert kept.left_out > 0


def test_what_is_short_is_kept_whole() -> None:
    kept = HeadAndTail(100, 100)
    kept.add("x" * 50)
    kept.add("y" * 50)
    kept.add("z" * 100)
    assert kept.text() == "x" * 50 + "y" * 50 + "z" * 100


def test_a_recorder_says_keeps_and_spools_the_same(tmp_path: Path) -> None:
    events: list[Event] = []
    recorder = Recorder(CELL, Spool(tmp_path, "c1"), events.append)
    for number in range(2000):
        recorder.feed(b"line %d\r\n" % number)
    output, truncated, path = recorder.finish()
    expected = "".join(f"line {number}\n" for number in range(2000))
    assert (output, truncated, path.read_text()) == (expected, False, expected)
    assert "".join(event.text for event in events if isinstance(event, Output)) == expected
    assert len(events) < 500


def test_lines_taken_back_are_gone_everywhere(tmp_path: Path) -> None:
    events: list[Event] = []
    recorder = Recorder(CELL, Spool(tmp_path, "c1"), events.append)
    recorder.feed(b"title\r\na 0\r\nb 0\r\n")
    recorder.feed(b"\x1b[2Aa 9\r\nb 9\r\n")
    output, _, path = recorder.finish()
    assert (output, path.read_text()) == ("title\na 9\nb 9\n", "title\na 9\nb 9\n")
    assert [event.rewind for event in events if isinstance(event, Output) and event.rewind] == [2]


@pytest.mark.parametrize(
    "secret",
    [
        "ghp_" + "a1B2" * 9,
        "github_pat_" + "a1B2" * 12,
        "glpat-" + "a1B2" * 6,
        "xoxb-1234567890-abcdefghij",
        "AKIA" + "A1B2" * 4,
        "AIza" + "a1B2c" * 7,
        "sk-proj-" + "a1B2" * 10,
        "sk_live_" + "a1B2" * 6,
        "npm_" + "a1B2" * 9,
        "hf_" + "a1B2" * 9,
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N",
    ],
)
def test_tokens_are_redacted(secret: str) -> None:
    assert redact(f"before {secret} after") == f"before {MASK} after"


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("Authorization: Bearer abcdef0123456789", f"Authorization: Bearer {MASK}"),
        ("export DB_PASSWORD=hunter22!", f"export DB_PASSWORD={MASK}"),
        ('API_KEY="abcdef123"', f'API_KEY="{MASK}"'),
        ("aws_secret_access_key = " + "a1B2" * 10, f"aws_secret_access_key = {MASK}"),
        ("https://me:hunter22@example.org/x", f"https://me:{MASK}@example.org/x"),
        ("token = tokens[0]", "token = tokens[0]"),
        ("https://example.org:8080/path@x", "https://example.org:8080/path@x"),
        ("the sk-learn package", "the sk-learn package"),
        (
            "a\n-----BEGIN RSA PRIVATE KEY-----\nMIIE\nxyz\n-----END RSA PRIVATE KEY-----\nb",
            f"a\n-----BEGIN RSA PRIVATE KEY----- {MASK}\nb",
        ),
    ],
)
def test_other_secrets_are_and_ordinary_text_is_not(text: str, clean: str) -> None:
    assert redact(text) == clean


def test_a_key_that_comes_in_pieces_is_redacted_as_one() -> None:
    redactor = Redactor()
    pieces = ["x\n-----BEGIN PRIVATE KEY-----\nAAAA\n", "BBBB\n", "CCCC\n-----END PRIVATE KEY-----\ny\n"]
    text = "".join(map(redactor.feed, pieces))
    assert not any(part in text for part in ("AAAA", "BBBB", "CCCC"))
    assert text.endswith("y\n")


def test_a_pin_cuts_long_lines() -> None:
    assert len(shorten("x" * 10_000)) < 2100
