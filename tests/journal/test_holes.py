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
