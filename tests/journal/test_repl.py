"""`steerway shell`, driven through a terminal as a person would, and through a pipe."""

from __future__ import annotations

import os
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ptyprocess import PtyProcess

from journal.document import Journal
from journal.repl.completeness import is_complete

STEERWAY = (sys.executable, "-c", "from journal.cli import main; main()")
JOURNAL = """---
journal: 1
title: Retry
---

<!-- journal:{"id":"s001","kind":"step"} -->
## Reproduce

```sh {"id":"c001","name":"hello"}
echo hello from the cell
```

<!-- journal:{"id":"s002","kind":"step"} -->
## Mend

```python {"id":"c002","name":"sum"}
print(20 + 22)
```
"""


class Person:
    """Types at a terminal and reads its screen's text."""

    def __init__(self, folder: Path, *arguments: str, **environment: str) -> None:
        command = [*STEERWAY, "shell", "work.journal.md", *arguments]
        variables = {**os.environ, "TERM": "xterm-256color", "PROMPT_TOOLKIT_NO_CPR": "1", **environment}
        self.process = PtyProcess.spawn(command, cwd=str(folder), env=variables, dimensions=(30, 100))
        self.seen = ""

    def sees(self, text: str, *, timeout_s: float = 15) -> str:
        """Wait until `text` shows up after what was waited for before."""
        deadline = time.monotonic() + timeout_s
        while text not in self.seen:
            if time.monotonic() > deadline:
                raise AssertionError(f"{text!r} does not come; there is {self.seen[-3000:]!r}")
            if not select.select([self.process.fd], [], [], 0.2)[0]:
                continue
            try:
                data = self.process.read(65536).decode("utf-8", "replace")
            except EOFError:
                raise AssertionError(f"{text!r} does not come before the end: {self.seen!r}") from None
            self.seen += re.sub(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07]*\x07|[@-Z=>78])", "", data)
        before, _, self.seen = self.seen.partition(text)
        return before

    def types(self, text: str) -> None:
        self.process.write(text.encode())

    def enters(self, line: str) -> None:
        """Type a line as fingers do: what is typed is shown before Enter."""
        self.types(line)
        self.sees(line[-12:])
        self.types("\r")
        self.sees("\r\r\n")

    def leaves(self) -> int:
        self.types("\x04")
        return self.ended()

    def ended(self) -> int:
        """Wait for the end; its exit code."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                if select.select([self.process.fd], [], [], 0.2)[0]:
                    self.process.read(65536)
            except EOFError:
                break
        while self.process.isalive() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not self.process.isalive(), "it does not end"
        return int(self.process.exitstatus if self.process.exitstatus is not None else -1)


@pytest.fixture
def folder(tmp_path: Path, isolated_home: Path) -> Path:
    place = tmp_path / "project"
    place.mkdir()
    (place / "work.journal.md").write_text(JOURNAL)
    (place / ".steerway").mkdir()
    return place


@pytest.fixture
def person(folder: Path) -> Iterator[Person]:
    someone = Person(folder)
    someone.sees("Retry · Reproduce sh>")
    yield someone
    someone.process.close(force=True)


def test_a_person_types_commands_and_leaves(person: Person) -> None:
    person.enters("x=4; echo $((x * 2))")
    person.sees("8\r\n")
    person.sees("sh>")
    person.enters("echo still $x; false")
    person.sees("still 4\r\n")
    person.sees("[exit 1]")
    person.sees("sh>")
    assert person.leaves() == 0


def test_ctrl_c_interrupts_the_cell_not_the_program(person: Person) -> None:
    person.enters("echo begin; sleep 60; echo after")
    person.sees("begin\r\n")
    time.sleep(0.2)
    person.types("\x03")
    person.sees("[interrupted]")
    person.sees("sh>")
    person.enters("echo alive")
    person.sees("alive\r\n")


def test_ctrl_c_at_the_prompt_clears_the_line(person: Person) -> None:
    person.types("echo nonsense")
    person.sees("nonsense")
    person.types("\x03")
    person.sees("sh>")
    person.enters("echo clean")
    person.sees("clean\r\n")


def test_what_is_unfinished_goes_on_in_the_next_line(person: Person) -> None:
    person.enters("for i in 1 2; do")
    person.sees("...")
    person.enters("echo number $i; done")
    person.sees("number 1\r\nnumber 2\r\n")


def test_steps_cells_and_running_them(person: Person) -> None:
    person.enters(":steps")
    person.sees(">  1  s001   todo     Reproduce")
    person.enters(":step Mend")
    person.sees("Retry · Mend sh>")
    person.enters(":cells")
    person.sees("sum            python   never   print(20 + 22)")
    person.enters(":run hello")
    person.sees("was not written here. Run its cells? [y/N]: ")
    person.types("y\r")
    person.sees("hello from the cell\r\n")
    person.sees("sh>")
    person.enters(":run sum")
    person.sees("42\r\n")


def test_a_refused_journal_does_not_run(person: Person) -> None:
    person.enters(":run hello")
    person.sees("[y/N]: ")
    person.types("n\r")
    person.sees("has not been agreed to")


def test_python_mode_keeps_its_names_and_answers_input(person: Person) -> None:
    person.enters(":python")
    person.sees("python>")
    person.enters("n = 6")
    person.sees("python>")
    person.enters("n * 7")
    person.sees("42\r\n")
    person.sees("python>")
    person.enters("name = input('who? '); print('hello', name)")
    person.sees("who? ")
    person.types("Ada\r")
    person.sees("hello Ada")


def test_a_program_reads_what_is_typed(person: Person) -> None:
    person.enters("read -r -p 'who? ' who; echo hello $who")
    person.sees("who? ")
    person.types("Ada\r")
    person.sees("hello Ada")
    person.sees("sh>")


def test_what_is_typed_ahead_is_no_command(person: Person, folder: Path) -> None:
    person.enters("echo begin; sleep 1")
    person.sees("begin\r\n")
    person.types("touch never\rhalf a line")
    person.sees("sh>")
    person.enters("echo alive")
    person.sees("alive\r\n")
    assert not (folder / "never").exists()


def test_what_was_run_is_saved_as_a_cell(person: Person, folder: Path) -> None:
    person.enters("echo keep me")
    person.sees("keep me\r\n")
    person.sees("sh>")
    person.enters(":save keeper")
    person.sees("saved keeper in step Reproduce")
    journal = Journal.parse((folder / "work.journal.md").read_bytes())
    cell = journal.cell("keeper")
    step = journal.step_of(cell)
    assert (cell.kind, cell.text.strip(), step and step.id) == ("sh", "echo keep me", "s001")
    rest = (folder / "work.journal.md").read_text().replace(cell.raw.decode(), "")
    assert rest == JOURNAL


def test_tab_completes_commands_names_and_paths(person: Person, folder: Path) -> None:
    person.types(":ste\t")
    person.sees(":ste")
    person.types("\x03")
    person.sees("sh>")
    person.types(":run hel\t")
    person.sees("hello")
    person.types("\x03")
    person.sees("sh>")
    person.types("ls work.j\t")
    person.sees("ournal.md")


def test_history_is_the_users_and_outlives_the_session(folder: Path, isolated_home: Path) -> None:
    first = Person(folder)
    first.sees("sh>")
    first.enters("echo remembered")
    first.sees("remembered\r\n")
    first.sees("sh>")
    first.enters(" echo not-this")
    first.sees("not-this\r\n")
    first.sees("sh>")
    assert first.leaves() == 0
    second = Person(folder)
    second.sees("sh>")
    second.types("\x1b[A")
    second.sees("echo remembered")
    second.process.close(force=True)
    assert (isolated_home / "state" / "shell-history").stat().st_mode & 0o077 == 0
    assert {path.name for path in folder.iterdir()} == {"work.journal.md", ".steerway"}


def test_a_progress_bar_is_drawn_in_place(person: Person) -> None:
    person.enters("for i in 1 2 3; do printf '\\r%d of 3' $i; sleep 0.2; done; echo")
    person.sees("1 of 3")
    person.sees("2 of 3")
    person.sees("3 of 3\r\n")


def test_it_works_on_a_dumb_terminal(folder: Path) -> None:
    person = Person(folder, TERM="dumb")
    person.sees("sh>")
    person.types("echo plain $((1 + 1))\r")
    person.sees("plain 2\r\n")
    person.sees("sh>")
    # There the prompt is printed before the terminal is made ready for single keys.
    time.sleep(0.5)
    assert person.leaves() == 0


def test_ending_it_ends_what_it_started(person: Person, folder: Path) -> None:
    person.enters("sleep 77 & echo $! >pid")
    person.sees("sh>")
    for _ in range(100):
        if (folder / "pid").exists() and (folder / "pid").read_text().strip():
            break
        time.sleep(0.05)
    pid = int((folder / "pid").read_text())
    assert person.leaves() == 0
    assert not _runs(pid)


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def pipe(folder: Path, lines: str) -> subprocess.CompletedProcess[str]:
    command = [*STEERWAY, "shell", "work.journal.md"]
    return subprocess.run(command, cwd=folder, input=lines, capture_output=True, text=True, timeout=120)


def test_piped_lines_are_run_one_after_the_other(folder: Path) -> None:
    done = pipe(folder, "cd /\npwd\nfor i in 1 2\ndo echo $i\ndone\n:python 6 * 7\n:quit\necho never\n")
    assert (done.stdout, done.stderr, done.returncode) == ("/\n1\n2\n42\n", "", 0)


def test_piped_lines_that_fail_give_exit_code_1_and_go_on(folder: Path) -> None:
    done = pipe(folder, "false\n:nonsense\ncat\necho end\n:sh\n:sho\n:s\n")
    assert done.returncode == 1
    said = "there is no command `:nonsense`: `:help` lists them"
    assert done.stdout.startswith(f"[exit 1]\nsteerway: {said}\nend\n")
    assert done.stdout.endswith("steerway: `:s` may be `:steps` or `:step` or `:show` or `:sh` or `:save`\n")


def test_a_piped_session_asks_nobody_and_runs_no_foreign_cell(folder: Path) -> None:
    done = pipe(folder, ":run hello\n")
    assert done.returncode == 1
    assert "has not been agreed to" in done.stdout
    assert "hello from the cell" not in done.stdout


def test_help_names_every_command(folder: Path) -> None:
    from journal.repl.commands import COMMANDS

    shown = pipe(folder, ":help\n").stdout
    assert all(f":{name}" in shown for name in COMMANDS)


@pytest.mark.parametrize(
    ("text", "mode", "complete"),
    [
        ("echo hi", "sh", True),
        ("echo 'open", "sh", False),
        ("for i in 1; do", "sh", False),
        ("cat <<END\nx", "sh", False),
        ("cat <<END\nx\nEND", "sh", True),
        ("if true; then", "sh", False),
        ("echo )", "sh", True),
        ("echo a \\", "sh", False),
        (":run x", "sh", True),
        ("1 + 1", "python", True),
        ("def f():", "python", False),
        ("def f():\n    return 1\n", "python", True),
        ("x = [1,", "python", False),
        ("x = = 1", "python", True),
    ],
)
def test_whether_more_is_wanted(text: str, mode: str, complete: bool) -> None:
    assert is_complete(text, mode) is complete


def test_every_command_is_in_the_documentation() -> None:
    from journal.repl.commands import COMMANDS

    page = (Path(__file__).parents[2] / "docs" / "running.md").read_text()
    for command in COMMANDS.values():
        assert f"`{f':{command.name} {command.arguments}'.rstrip()}`" in page
