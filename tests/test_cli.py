"""The root command: plug-ins through the same door, errors in one line, no start-up cost for --version."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint, version
from pathlib import Path

import click
import pytest

from engine.errors import SteerwayError
from journal.commands import root
from tests.cli import complaint, steerway


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A module with commands, offered as a plug-in would offer them."""
    (tmp_path / "strangers.py").write_text(
        "import click\n"
        "@click.command()\ndef hello():\n    click.echo('hello from outside')\n"
        "@click.command()\ndef bug():\n    raise ZeroDivisionError('oops')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    points = {
        name: EntryPoint(name, value, root.GROUP)
        for name, value in {
            "hello": "strangers:hello", "bug": "strangers:bug", "broken": "no_such_module:command",
        }.items()
    }  # fmt: skip
    monkeypatch.setattr(root, "_commands", lambda: points)
    return tmp_path


@pytest.mark.usefixtures("plugin")
def test_a_plug_in_is_a_command_like_any_other(capsys: pytest.CaptureFixture[str]) -> None:
    assert root.run(["hello"]) == 0
    assert capsys.readouterr().out == "hello from outside\n"


@pytest.mark.usefixtures("plugin")
def test_a_broken_plug_in_takes_no_other_command_with_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert root.run(["--help"]) == 0
    assert "hello" in capsys.readouterr().out
    assert root.run(["broken"]) == 2
    assert "does not load" in capsys.readouterr().err


@pytest.mark.usefixtures("plugin")
def test_a_bug_is_one_line_and_exit_code_70(capsys: pytest.CaptureFixture[str]) -> None:
    assert root.run(["bug"]) == SteerwayError.exit_code == 70
    error = capsys.readouterr().err
    assert "this is a bug (ZeroDivisionError: oops)" in error
    assert len(error.splitlines()) == 1


def test_version(tmp_path: Path) -> None:
    assert steerway("--version", cwd=tmp_path).stdout == f"steerway {version('steerway')}\n"


def test_version_imports_nothing_heavy() -> None:
    """Why it answers at once: neither click nor anything of ours beyond the entry point."""
    code = (
        "import sys; sys.argv=['steerway','--version']\n"
        "from journal.cli import main; main()\n"
        "print(sorted(m for m in ('click','rich','numpy','textual','llama_cpp','msgspec')\n"
        "  if m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_every_command_explains_itself() -> None:
    context = click.Context(root.root, info_name="steerway")
    for name in root.root.list_commands(context):
        command = root.root.get_command(context, name)
        assert command is not None
        assert command.help, name
        assert all(p.help for p in command.params if isinstance(p, click.Option)), name


def test_an_unknown_command_is_named(tmp_path: Path) -> None:
    done = steerway("frobnicate", cwd=tmp_path)
    assert done.returncode == 2
    assert "frobnicate" in done.stderr


def test_a_place_that_is_no_place_says_what_one_is(tmp_path: Path) -> None:
    assert "src/up.py:42:9" in complaint(steerway("complete", "nowhere", cwd=tmp_path))
