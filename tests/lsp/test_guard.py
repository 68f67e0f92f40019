"""Files that get no suggestion, and the words for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lsp.guard import refusal


def test_secret_and_ignored_files_are_refused_with_a_reason(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".gitignore").write_text("build/\n*.log\n!keep.log\n")
    assert refusal(tmp_path / ".env") == ".env may hold secrets"
    assert refusal(tmp_path / "build" / "out.py") == "out.py is ignored by .gitignore"
    assert refusal(tmp_path / "keep.log") == ""
    assert refusal(tmp_path / "main.py") == ""


def test_a_link_does_not_make_a_key_file_another(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PASSWORD=hunter22\n")
    (tmp_path / "notes.md").symlink_to(tmp_path / ".env")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert refusal(tmp_path / "notes.md") == ".env may hold secrets"
    assert refusal(tmp_path / "loop") == ""


def test_what_is_no_file_or_too_long(tmp_path: Path) -> None:
    assert refusal(None, scheme="untitled") == ""
    assert "output:" in refusal(None, scheme="output")
    assert "2,000,000" in refusal(tmp_path / "a.py", characters=3_000_000)


async def test_the_model_reads_no_secret_of_the_edited_file(serve: Any, gated: Any) -> None:
    token = "ghp_" + "a1B2" * 9
    gated.allow(len(gated.text))
    async with serve(engine=lambda: gated) as client:
        await client.initialize()
        await client.ready()
        client.open("file:///project/up.py", f'KEY = "{token}"\nup.\nOLD = "{token}"\n')
        (item,) = await client.inline("file:///project/up.py", 1, 3)
        assert item["insertText"] == gated.text
        (request,) = gated.requests
        assert (request.prefix, request.suffix) == ('KEY = "[redacted]"\nup.', '\nOLD = "[redacted]"\n')
