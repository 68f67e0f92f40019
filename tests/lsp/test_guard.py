"""Files that get no suggestion, and the words for it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from lsp.guard import Guard, secret


def test_secret_and_ignored_files_are_refused_with_a_reason(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".gitignore").write_text("build/\n*.log\n!keep.log\n")
    guard = Guard()
    assert guard.refusal(tmp_path / ".env") == ".env may hold secrets"
    assert guard.refusal(tmp_path / "build" / "out.py") == "out.py is ignored by .gitignore"
    assert guard.refusal(tmp_path / "keep.log") == ""
    assert guard.refusal(tmp_path / "main.py") == ""


@pytest.mark.parametrize(
    "name",
    [
        ".env", ".env.local", "prod.env", "server.pem", "id_rsa", "id_ed25519", "a/b/.netrc", "x.tfstate",
        "secrets.yaml", "CREDENTIALS", ".npmrc", "app.KEY",
    ],
)  # fmt: skip
def test_names_that_hold_secrets(name: str) -> None:
    assert secret(name)


@pytest.mark.parametrize(
    "name",
    [".env.example", "secrets.py", "environment.py", "id_rsa.pub", "key.go", "credentials.ts", "a.envy"],
)
def test_names_that_do_not(name: str) -> None:
    assert not secret(name)


def test_ignoring_agrees_with_git(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    (tmp_path / ".gitignore").write_text("build/\n*.log\n/only-root.txt\ndoc/*.md\n!doc/keep.md\n")
    (tmp_path / "sub" / "deep").mkdir(parents=True)
    (tmp_path / "sub" / ".gitignore").write_text("!b.log\ndeep/\n")
    (tmp_path / ".git" / "info" / "exclude").write_text("private.txt\n")
    names = [
        "a.log", "b.log", "sub/a.log", "sub/b.log", "build/x.py", "sub/build/x.py", "only-root.txt",
        "sub/only-root.txt", "doc/a.md", "doc/keep.md", "doc/x/a.md", "sub/deep/x.py", "private.txt", "ok.py",
    ]  # fmt: skip
    asked = subprocess.run(
        ["git", "-C", tmp_path, "check-ignore", "--no-index", *names],
        capture_output=True,
        text=True,
        check=False,
    )
    guard = Guard()
    assert [name for name in names if guard.ignored_by(tmp_path / name)] == asked.stdout.splitlines()


def test_the_house_rules_of_a_workspace_count_and_are_read_again(tmp_path: Path) -> None:
    (tmp_path / ".steerwayignore").write_text("legacy/\n")
    guard = Guard()
    assert guard.ignored_by(tmp_path / "legacy" / "a.py") == ".steerwayignore"
    (tmp_path / ".steerwayignore").write_text("# nothing any more\n")
    assert guard.ignored_by(tmp_path / "legacy" / "a.py") == ""
    (tmp_path / ".steerwayignore").unlink()
    assert guard.ignored_by(tmp_path / "legacy" / "a.py") == ""


def test_what_is_no_file_or_too_long(tmp_path: Path) -> None:
    guard = Guard()
    assert guard.refusal(None, scheme="untitled") == ""
    assert "output:" in guard.refusal(None, scheme="output")
    assert "2,000,000" in guard.refusal(tmp_path / "a.py", characters=3_000_000)
