"""The program itself, in a real terminal: a PTY, and pyte to see what a person would."""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyte
import pytest
from ptyprocess import PtyProcess

from journal import recovery
from journal.document import Journal
from journal.run.trust import Trust
from tests.cli import complaint, steerway

STEERWAY = str(Path(sys.executable).with_name("steerway"))
TEXT = b"""---\r
journal: 1\r
title: Retry\r
---\r
\r
Notes keep their odd   spaces.  \r
\r
```sh { "id" : "c001", "name":"hello", "later": [1,2] }\r
echo hello from $((40 + 2))\r
```\r
"""


class Terminal:
    """A person at a terminal of 100x30."""

    def __init__(self, folder: Path, *arguments: str, **environment: str) -> None:
        variables = {**os.environ, "TERM": "xterm-256color", "STEERWAY_MODEL": "fake", **environment}
        self.process = PtyProcess.spawn(
            [STEERWAY, *arguments], cwd=str(folder), env=variables, dimensions=(30, 100)
        )
        self._screen = pyte.Screen(100, 30)
        self._stream = pyte.ByteStream(self._screen)
        self.raw = b""

    def screen(self) -> str:
        return "\n".join(line.rstrip() for line in self._screen.display)

    def reads(self, seconds: float) -> bool:
        """Take in what is written; False at the end."""
        ready, _, _ = select.select([self.process.fd], [], [], seconds)
        try:
            data = os.read(self.process.fd, 1 << 16) if ready else None
        except OSError:
            return False
        if data:
            self.raw += data
            self._stream.feed(data)
        return data is None or bool(data)

    def sees(self, text: str, limit_s: float = 60) -> None:
        end = time.monotonic() + limit_s
        while text not in self.screen():
            assert time.monotonic() < end, f"{text!r} never came; there is\n{self.screen()}"
            assert self.reads(0.1), f"it ended before {text!r} came:\n{self.screen()}"

    def presses(self, keys: str) -> None:
        self.process.write(keys.encode())

    def ends(self) -> int:
        end = time.monotonic() + 60
        while self.reads(0.1):
            assert time.monotonic() < end, self.screen()
        self.process.wait()
        return int(self.process.exitstatus or 0)


@pytest.fixture
def folder(tmp_path: Path, isolated_home: Path) -> Path:
    (tmp_path / ".git").mkdir()
    (tmp_path / "work.journal.md").write_bytes(TEXT)
    return tmp_path


@pytest.fixture
def terminal(folder: Path) -> Iterator[Terminal]:
    terminal = Terminal(folder, "work.journal.md")
    yield terminal
    terminal.process.terminate(force=True)


def test_open_run_edit_save_quit(terminal: Terminal, folder: Path) -> None:
    Trust().remember(Journal.parse(TEXT))
    terminal.sees("hello from $((40 + 2))")
    terminal.presses("Gr")
    terminal.sees("│ hello from 42")
    terminal.presses("\r")
    terminal.sees("Esc done")
    terminal.presses("cd /tmp\r")
    terminal.sees("unsaved")
    terminal.presses("\x1b")
    terminal.sees("stale")
    terminal.presses("\x13")
    terminal.sees("saved work.journal.md")
    terminal.presses("q")
    assert terminal.ends() == 0
    path = folder / "work.journal.md"
    assert path.read_bytes() == TEXT.replace(b"echo hello", b"cd /tmp\r\necho hello")
    assert b"\x1b[?1049l" in terminal.raw, "the terminal is given back"


def test_what_is_typed_survives_a_kill(terminal: Terminal, folder: Path) -> None:
    path = folder / "work.journal.md"
    terminal.sees("hello from")
    terminal.presses("G\r")
    terminal.sees("Esc done")
    terminal.presses("echo precious; ")
    terminal.sees("echo precious; ")
    end = time.monotonic() + 30
    while not any(b"precious" in copy.read_bytes() for copy in recovery.copies(path)):
        assert time.monotonic() < end
        terminal.reads(0.05)
    terminal.process.kill(9)
    terminal.ends()
    assert path.read_bytes() == TEXT
    again = Terminal(folder, "work.journal.md")
    again.sees("There is text that was not saved")
    again.presses("r")
    again.sees("echo precious; echo hello")
    again.presses("\x13")
    again.sees("saved work.journal.md")
    again.presses("q")
    assert again.ends() == 0
    assert b"echo precious; echo hello" in path.read_bytes()


def test_the_persons_own_editor_gets_the_terminal(folder: Path) -> None:
    terminal = Terminal(folder, "work.journal.md", EDITOR="sed -i s/hello/goodbye/", VISUAL="")
    terminal.sees("hello from")
    terminal.presses("GE")
    terminal.sees("goodbye from")
    terminal.presses("q")
    terminal.sees("Not everything is saved")
    terminal.presses("s")
    assert terminal.ends() == 0
    assert b"goodbye from" in (folder / "work.journal.md").read_bytes()


def test_without_a_file_the_active_journal_opens(folder: Path) -> None:
    terminal = Terminal(folder)
    terminal.sees("Retry")
    terminal.presses("q")
    assert terminal.ends() == 0


def test_without_a_journal_or_a_terminal_one_line_says_what_to_do(
    tmp_path: Path, isolated_home: Path
) -> None:
    (tmp_path / ".git").mkdir()
    assert "steerway new" in complaint(steerway(cwd=tmp_path))
    assert "there is no file" in complaint(steerway("open", "gone.journal.md", cwd=tmp_path))
    (tmp_path / "work.journal.md").write_bytes(TEXT)
    assert "opens in a terminal" in complaint(steerway("work.journal.md", cwd=tmp_path))
