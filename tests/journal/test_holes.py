"""A place in a file becomes a request: what the model reads around it."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import UsageError
from engine.settings import Settings
from journal.holes import Hole

TOKEN = "ghp_" + "a1B2" * 9


def test_a_request_has_the_file_without_its_secrets_and_goes_to_the_same_place(tmp_path: Path) -> None:
    text = f'KEY = "{TOKEN}"\nup.send()\nOLD = "{TOKEN}"\n'
    (tmp_path / "up.py").write_text(text)
    hole = Hole.parse(f"{tmp_path / 'up.py'}:2:9")
    request = hole.request(root=tmp_path, documents=(), settings=Settings())
    assert request.prefix == 'KEY = "[redacted]"\nup.send('
    assert request.suffix == ')\nOLD = "[redacted]"\n'
    assert hole.filled("data") == text.replace("send()", "send(data)")


def test_a_key_file_is_refused_under_any_name(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("KEY=\n")
    (tmp_path / "notes.txt").symlink_to(tmp_path / ".env")
    for name in (".env", "notes.txt"):
        with pytest.raises(UsageError, match=r"\.env may hold secrets"):
            Hole.parse(f"{tmp_path / name}:1:5")


def test_a_file_with_windows_line_ends_is_read_without_them_and_keeps_them(tmp_path: Path) -> None:
    (tmp_path / "up.py").write_bytes(b"if up:\r\n    \r\nend()\r\n")
    hole = Hole.parse(f"{tmp_path / 'up.py'}:2:5")
    request = hole.request(root=tmp_path, documents=(), settings=Settings())
    assert (request.prefix, request.suffix) == ("if up:\n    ", "\nend()\n")
    assert hole.fitted("send(\n    1)") == "send(\r\n    1)"
    (tmp_path / "up.py").write_bytes(b"if up:\n    \n")
    assert Hole.parse(f"{tmp_path / 'up.py'}:2:5").fitted("send(\n    1)") == "send(\n    1)"


@pytest.mark.parametrize(
    ("text", "place", "offset"),
    [
        ("", "1:1", 0),
        ("a\r\nbc\r\n", "1:2", 1),  # before the CR, never behind it
        ("a\r\nbc\r\n", "2:1", 3),
        ("a\r\nbc\r\n", "3:1", 7),
        ("a\nbc", "2:3", 4),
        ("a\n", "2:1", 2),
        ("äé\U0001f600x", "1:4", 3),
        ("\f\u2028\x85a", "1:5", 4),  # none of these ends a line
    ],
)
def test_places_at_the_edges(tmp_path: Path, text: str, place: str, offset: int) -> None:
    (tmp_path / "a.py").write_bytes(text.encode())
    hole = Hole.parse(f"{tmp_path / 'a.py'}:{place}")
    assert (hole.text, hole.offset) == (text, offset)
    assert hole.filled("X") == text[:offset] + "X" + text[offset:]


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("", "1:2", "line 1 of .*a.py ends at column 1, before column 2"),
        ("", "2:1", "a.py has 1 line, not 2"),
        ("a\r\n", "1:3", "ends at column 2"),
        ("a\nb\n", "4:1", "a.py has 3 lines, not 4"),
        ("a", "0:1", "is not FILE:LINE:COL"),
        ("a", "1:-1", "is not FILE:LINE:COL"),
        ("a", "1", "is not FILE:LINE:COL"),
    ],
)
def test_places_that_are_none(tmp_path: Path, text: str, place: str, message: str) -> None:
    (tmp_path / "a.py").write_bytes(text.encode())
    with pytest.raises(UsageError, match=message):
        Hole.parse(f"{tmp_path / 'a.py'}:{place}")


def test_a_file_that_is_not_text_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_bytes(b"caf\xe9")
    with pytest.raises(UsageError, match="not UTF-8 text"):
        Hole.parse(f"{tmp_path / 'a.py'}:1:1")
    with pytest.raises(UsageError, match="cannot be read: no such file"):
        Hole.parse(f"{tmp_path / 'b.py'}:1:1")
