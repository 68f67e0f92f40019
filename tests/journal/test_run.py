"""`steerway run`: cells in order, one JSON line each, exit codes, nothing left behind."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from journal.document import Journal
from journal.errors import CellNotRunnable
from journal.run.digest import needed
from journal.run.plan import choose
from journal.run.result import Event, Finished, Output, Started
from journal.run.runner import Runner
from journal.workspace import Workspace
from tests.cli import obey_permissions

STEERWAY = (sys.executable, "-c", "from journal.cli import main; main()")
JOURNAL = """---
journal: 1
---

<!-- journal:{"id":"s001","kind":"step"} -->
## First

```sh {"id":"c001","name":"one"}
export FROM_ONE=1; echo one $GREETING
```

A fence without braces is prose.

```sh
echo never
```

<!-- journal:{"id":"s002","kind":"step"} -->
## Second

```python {"id":"c002","name":"two","needs":["one"]}
import os
print("two", os.environ["STEERWAY_CELL"], os.environ["STEERWAY_STEP"])
```

```json {"id":"c003"}
{"shown": "not run"}
```

```sh {"id":"c004","name":"three"}
echo three $FROM_ONE
```
"""


@pytest.fixture
def folder(tmp_path: Path, isolated_home: Path) -> Path:
    place = tmp_path / "project"
    (place / ".steerway").mkdir(parents=True)
    (place / "work.journal.md").write_text(JOURNAL)
    return place


def steerway(folder: Path, *arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    command = [*STEERWAY, "run", *arguments]
    return subprocess.run(  # type: ignore[call-overload, no-any-return]
        command, cwd=folder, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL, **options
    )


def rows(done: subprocess.CompletedProcess[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def write(folder: Path, *cells: str, kind: str = "sh") -> None:
    texts = [f'```{kind} {{"id":"x{number:03}"}}\n{cell}\n```\n' for number, cell in enumerate(cells)]
    (folder / "work.journal.md").write_text("\n".join(texts))


def test_one_json_line_a_cell(folder: Path) -> None:
    done = steerway(folder, "work.journal.md", "--trust", "--json", "--param", "GREETING=hi")
    assert (done.returncode, done.stderr) == (0, "")
    assert [{**row, "ms": 0} for row in rows(done)] == [
        {"cell": "c001", "name": "one", "kind": "sh", "exit": 0, "ms": 0, "output": "one hi\n"},
        {"cell": "c002", "name": "two", "kind": "python", "exit": 0, "ms": 0, "output": "two two s002\n"},
        {"cell": "c004", "name": "three", "kind": "sh", "exit": 0, "ms": 0, "output": "three 1\n"},
    ]
    assert (folder / "work.journal.md").read_text() == JOURNAL


def test_people_get_output_on_stdout_and_a_table_on_stderr(folder: Path) -> None:
    done = steerway(folder, "--trust", "--cell", "three")
    assert (done.stdout, done.returncode) == ("three\n", 0)
    assert "three (sh)" in done.stderr
    assert "ok" in done.stderr.splitlines()[-1]


def test_a_cell_brings_what_it_needs_a_step_only_its_own(folder: Path) -> None:
    def run(*arguments: str) -> list[object]:
        return [row["name"] for row in rows(steerway(folder, "--trust", "--json", *arguments))]

    assert run("--cell", "two") == ["one", "two"]
    assert run("--cell", "three", "--cell", "one") == ["three", "one"]
    assert run("--step", "Second") == ["two", "three"]
    assert run("--from", "three") == ["three"]
    assert run("--from", "s002") == ["two", "three"]


def test_a_failing_cell_ends_the_run_unless_told_to_go_on(folder: Path) -> None:
    write(folder, "echo a", "exit 7", "echo b")
    done = steerway(folder, "--trust", "--json")
    assert [row["exit"] for row in rows(done)] == [0, 7]
    assert done.returncode == 1
    done = steerway(folder, "--trust", "--json", "--keep-going")
    assert [row["exit"] for row in rows(done)] == [0, 7, 0]
    assert done.returncode == 1
    assert "its variables and directory are lost" in done.stderr


def test_a_timeout_is_exit_code_3(folder: Path) -> None:
    write(folder, "echo begin; sleep 60")
    done = steerway(folder, "--trust", "--json", "--timeout", "0.5")
    assert done.returncode == 3
    assert rows(done)[0]["timed_out"] is True
    assert str(rows(done)[0]["output"]).startswith("begin\n")


@pytest.mark.parametrize("code", ["import os; os._exit(1)", "import os; os.kill(os.getpid(), 9)"])
def test_a_dead_kernel_is_exit_code_4_and_one_line(folder: Path, code: str) -> None:
    write(folder, code, "print('new')", kind="python")
    done = steerway(folder, "--trust", "--json", "--keep-going")
    assert done.returncode == 4
    assert [row["exit"] for row in rows(done)] == [None, 0]
    assert done.stderr == (
        "steerway: the python3 kernel died: its variables are lost, the next cell gets a new one\n"
    )


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("--cell", "nope"), "no cell 'nope' in this journal"),
        (("--step", "nope"), "no step 'nope' in this journal"),
        (("--cell", "c003"), "cell c003 is json: it is not run"),
        (("--param", "3"), "--param 3: not NAME=VALUE"),
        (("--pin", "one", "--step", "s002"), "--pin one: this run does not run that cell"),
        (("gone.journal.md",), "there is no file"),
    ],
)
def test_bad_usage_is_one_line_and_exit_code_2(folder: Path, arguments: tuple[str, ...], line: str) -> None:
    done = steerway(folder, "--trust", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("steerway: ")
    assert line in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_unknown_language_is_one_line_before_anything_runs(folder: Path) -> None:
    (folder / "work.journal.md").write_text(
        '```sh {}\ntouch ran\n```\n\n```cobol {"id":"c1"}\nSTOP RUN.\n```\n'
    )
    done = steerway(folder, "--trust")
    assert done.returncode == 2
    assert done.stderr == (
        "steerway: nothing on this machine runs cobol cells: install a Jupyter kernel for cobol\n"
    )
    assert not (folder / "ran").exists()


def test_a_journal_without_code_is_fine(folder: Path) -> None:
    (folder / "work.journal.md").write_text("Just prose.\n")
    done = steerway(folder)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "steerway: there is nothing to run\n")


def test_a_cell_that_cannot_be_read_is_named(folder: Path) -> None:
    (folder / "work.journal.md").write_text('```sh {"id":\necho never\n```\n')
    done = steerway(folder, "--trust")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.startswith("steerway: line 1: the metadata is not JSON (")
    assert done.stderr.endswith("\nsteerway: there is nothing to run\n")


def test_secrets_do_not_reach_what_is_recorded(folder: Path) -> None:
    token = "ghp_" + "a1B2" * 9
    write(folder, f"echo token {token}; printf '{token[:20]}'; sleep 0.1; echo '{token[20:]}'")
    done = steerway(folder, "--trust", "--json", "--pin", "x000")
    assert rows(done)[0]["output"] == "token [redacted]\n[redacted]\n"
    kept = [path for path in folder.rglob("*") if path.is_file() and path.name != "work.journal.md"]
    assert not [path for path in kept if token.encode() in path.read_bytes()]
    assert (folder / "work.journal.out" / "x000.txt").read_text() == "token [redacted]\n[redacted]\n"
    assert token not in steerway(folder, "--trust").stdout


def test_a_pin_has_head_and_tail_and_no_colours(folder: Path) -> None:
    write(folder, r"printf '\033[31mred\033[0m\n'; seq 1000")
    steerway(folder, "--trust", "--pin", "x000")
    lines = (folder / "work.journal.out" / "x000.txt").read_text().splitlines()
    assert (lines[0], lines[1], lines[-1], len(lines)) == ("red", "1", "1000", 401)
    assert "[... 601 lines left out ...]" in lines


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("kind", ["sh", "python"])
def test_a_signal_interrupts_and_leaves_no_process(folder: Path, number: signal.Signals, kind: str) -> None:
    shell = "sleep 71 & echo $! >pid1; sleep 72 & echo $! >pid2; echo up; sleep 73"
    code = "import subprocess\nfor n in '12':\n    p = subprocess.Popen(['sleep', '71'])\n"
    code += "    open('pid' + n, 'w').write(str(p.pid))\nprint('up', flush=True)\np.wait()"
    write(folder, shell if kind == "sh" else code, "echo never" if kind == "sh" else "1", kind=kind)
    command = [*STEERWAY, "run", "--trust", "--json"]
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        for _ in range(600):
            if (folder / "pid2").exists() and (folder / "pid2").read_text().strip():
                break
            time.sleep(0.05)
        time.sleep(0.3)
        process.send_signal(number)
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert [json.loads(line)["interrupted"] for line in out.splitlines()] == [True]
    for name in ("pid1", "pid2"):
        assert not _runs(int((folder / name).read_text()))


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_reader_that_leaves_ends_the_run(folder: Path) -> None:
    write(folder, "seq 100000; sleep 60")
    command = [*STEERWAY, "run", "--trust"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(30) in (141, 1, 120)


def test_a_read_only_workspace_keeps_its_state_with_the_user(folder: Path) -> None:
    (folder / ".steerway").rmdir()
    folder.chmod(0o500)
    done = steerway(folder, "--trust", "--json", "--cell", "one", preexec_fn=obey_permissions)
    folder.chmod(0o700)
    assert rows(done)[0]["exit"] == 0


class Run:
    """A runner in this process, with what it said."""

    def __init__(self, folder: Path) -> None:
        self.events: list[Event] = []
        self.journal = Journal.parse((folder / "work.journal.md").read_bytes())
        path = folder / "work.journal.md"
        self.runner = Runner(path, Workspace(folder), on_event=self.events.append)


def test_events_tell_a_cell_from_start_to_end(folder: Path) -> None:
    run = Run(folder)
    with run.runner:
        result = run.runner.run_cell(run.journal.cell("one"), journal=run.journal)
    kinds = [type(event) for event in run.events]
    assert (kinds[0], kinds[-1]) == (Started, Finished)
    assert "".join(event.text for event in run.events if isinstance(event, Output)) == "one\n"
    assert (result.exit, result.output, result.ok) == (0, "one\n", True)


def test_a_result_stands_until_the_cell_or_what_it_needs_changes(folder: Path) -> None:
    run = Run(folder)
    one, three, two = (run.journal.cell(name) for name in ("one", "three", "two"))
    with run.runner:
        assert run.runner.freshness(one, run.journal) == "never"
        run.runner.run_cell(one, journal=run.journal)
        run.runner.run_cell(two, journal=run.journal)
        assert run.runner.freshness(two, run.journal) == "fresh"
        assert run.runner.freshness(two, run.journal, {"n": "1"}) == "stale"
        changed = Journal.parse(run.journal.data.replace(b"echo one", b"echo ONE"))
        assert run.runner.freshness(changed.cell("one"), changed) == "stale"
        assert run.runner.freshness(changed.cell("two"), changed) == "stale"
        failing = Journal.parse(run.journal.data.replace(b"echo three $FROM_ONE", b"false"))
        run.runner.run_cell(failing.cell("three"), journal=failing)
        assert run.runner.freshness(failing.cell("three"), failing) == "failed"
        assert run.runner.freshness(three, run.journal) == "stale"


def test_needs_are_followed_in_order_and_circles_are_cut() -> None:
    text = "".join(
        f'```sh {{"name":"{name}","needs":"{wanted}"}}\n{name}\n```\n\n'
        for name, wanted in (("a", "b c"), ("b", "c"), ("c", "a"))
    )
    journal = Journal.parse(text.encode())
    assert [cell.name for cell in needed(journal, journal.cell("a"))] == ["c", "b"]


def test_cells_that_are_not_run_are_refused_by_name(folder: Path) -> None:
    run = Run(folder)
    with run.runner, pytest.raises(CellNotRunnable):
        choose(run.journal, run.runner, cells=("c003",))


def test_restart_forgets(folder: Path) -> None:
    run = Run(folder)
    with run.runner:
        run.runner.run_cell(run.journal.cell("one"))
        assert run.runner.run_cell(run.journal.cell("three")).output == "three 1\n"
        run.runner.restart()
        assert run.runner.run_cell(run.journal.cell("three")).output == "three\n"
