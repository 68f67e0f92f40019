"""The journal's shell: one bash on a terminal, cells run in it as files, ends found by marks."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from journal.errors import ShellUnavailable
from journal.run.processes import session_members
from journal.run.shell import Ending, Shell

pytestmark = pytest.mark.skipif(not shutil.which("bash"), reason="bash is not installed")


class Session:
    """A shell and what it printed last."""

    def __init__(self, folder: Path, **options: object) -> None:
        self.shell = Shell("bash", cwd=folder, **options)  # type: ignore[arg-type]
        self.output = ""

    def run(self, text: str, **options: object) -> Ending:
        pieces: list[bytes] = []
        ending = self.shell.run(text, on_bytes=pieces.append, **options)  # type: ignore[arg-type]
        self.output = b"".join(pieces).decode("utf-8", "surrogateescape").replace("\r\n", "\n")
        return ending


@pytest.fixture
def bash(tmp_path: Path) -> Iterator[Session]:
    session = Session(tmp_path)
    yield session
    session.shell.close()


def test_state_persists_between_cells(bash: Session, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    assert bash.run("cd sub; x=3; export Y=4; f() { echo $x$Y; }; declare -A map=([a]=1); alias ll='echo al'")
    assert bash.run("pwd; f; echo ${map[a]}; ll") == Ending(0)
    assert bash.output == f"{tmp_path}/sub\n34\n1\nal\n"


def test_the_status_is_that_of_the_last_command(bash: Session) -> None:
    assert bash.run("false").exit == 1
    assert bash.run("sh -c 'exit 7'").exit == 7
    assert bash.run("return 5; echo not reached").exit == 5
    assert bash.output == ""
    assert bash.run("echo $?; true").exit == 0


def test_heredocs_and_many_lines(bash: Session) -> None:
    bash.run("cat <<'END'\n$x \"quoted\"\n  indented\nEND\nfor i in 1 2\ndo\n  echo $i\ndone\n")
    assert bash.output == '$x "quoted"\n  indented\n1\n2\n'


@pytest.mark.parametrize("text", ['echo "unfinished', "echo $(true", "if true; then echo x", "cat <<END\nx"])
def test_what_is_unfinished_ends_with_a_clear_line(bash: Session, text: str) -> None:
    bash.run(text, timeout=20)
    assert "end of file" in bash.output or "EOF" in bash.output or "end-of-file" in bash.output
    assert bash.run("echo alive") == Ending(0)


def test_exit_ends_the_shell_and_the_next_cell_gets_a_new_one(bash: Session) -> None:
    bash.run("x=3")
    assert bash.run("echo bye; exit 3") == Ending(3, died=True)
    assert bash.output == "bye\n"
    assert bash.run("echo [$x]") == Ending(0)
    assert bash.output == "[]\n"


def test_exec_replaces_the_shell(bash: Session) -> None:
    assert bash.run("exec echo gone") == Ending(0, died=True)
    assert bash.output == "gone\n"


def test_exec_redirections_end_with_the_cell(bash: Session) -> None:
    assert bash.run("exec >/dev/null 2>&1\necho lost") == Ending(0)
    assert bash.run("echo seen") == Ending(0)
    assert bash.output == "seen\n"


@pytest.mark.parametrize(
    "text",
    [
        "set -e\nfalse\necho no",
        "set -euo pipefail\nf() { false; echo no; }\nf\necho no",
        "set -e\n(exit 1; echo no)\necho no",
        "set -eo pipefail\nfalse | true\necho no",
    ],
)
def test_errexit_ends_the_cell_not_the_shell(bash: Session, text: str) -> None:
    bash.run("x=kept")
    assert bash.run(text) == Ending(1)
    assert bash.output == ""
    assert bash.run("false; echo $x") == Ending(0)
    assert bash.output == "kept\n"


def test_errexit_follows_its_own_rules(bash: Session) -> None:
    assert (
        bash.run("set -e\nfalse || true\nif ! false; then echo y; fi\nx=$(false; echo k); echo $x").exit == 0
    )
    assert bash.output == "y\nk\n"
    assert bash.run("set -e\ntest -f nowhere && echo no").exit == 1
    assert bash.run("echo alive") == Ending(0)


def test_nounset_ends_the_cell(bash: Session) -> None:
    assert bash.run("set -u\necho $nope\necho no").exit == 1
    assert "nope: unbound variable" in bash.output
    assert "no\n" not in bash.output.replace("nope", "")
    assert bash.run("echo [$nope]") == Ending(0)


def test_trace_shows_the_cell_and_nothing_of_ours(bash: Session) -> None:
    bash.run("set -x\necho hi\n")
    assert "echo hi" in bash.output
    assert "steerway" not in bash.output
    bash.run("echo quiet")
    assert bash.output == "quiet\n"


def test_stdin_is_at_its_end_when_nobody_types(bash: Session) -> None:
    assert bash.run("cat; read -r line; echo [$line]", timeout=20).exit == 0
    assert bash.output == "[]\n"


def test_programs_read_what_is_typed(tmp_path: Path) -> None:
    session = Session(tmp_path, stdin="terminal")
    threading.Timer(0.3, session.shell.write, (b"Ada\n",)).start()
    assert session.run("read -r -p 'name? ' name; echo hello $name", timeout=20) == Ending(0)
    assert session.output.startswith("name? ")
    assert session.output.endswith("hello Ada\n")
    session.shell.close()


def test_exports_are_in_the_environment(bash: Session) -> None:
    bash.run("env | grep ^MINE", exports={"MINE": 'it\'s "quoted" $HOME\nline'})
    assert bash.output == 'MINE=it\'s "quoted" $HOME\n'


def test_bytes_that_are_not_text_pass(bash: Session) -> None:
    bash.run(r"printf '\377\200ok\0end\n'")
    assert bash.output.encode("utf-8", "surrogateescape") == b"\xff\x80ok\x00end\n"


def test_output_cannot_end_the_cell_early(bash: Session) -> None:
    assert bash.run(r"printf '\033]133;D;0\a\033]133;D;0;steerway=1\a'; echo after; false") == Ending(1)
    assert bash.output.endswith("after\n")


def test_an_overwritten_prompt_command_is_no_loss(bash: Session) -> None:
    assert bash.run("PROMPT_COMMAND='echo mine'; PS1='$ '; false") == Ending(1)
    assert bash.run("echo ok") == Ending(0)
    assert bash.output == "ok\n"


def test_the_start_up_file_of_the_user_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".bashrc").write_text("echo from bashrc; export FROM_RC=1\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    session = Session(tmp_path)
    session.run("echo [$FROM_RC]")
    assert session.output == "[]\n"
    session.shell.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".bashrc"]


@pytest.mark.parametrize(
    "text",
    [
        "sleep 60",
        "while :; do :; done",
        "while true; do sleep 0.01; done",
        "yes",
        "sleep 60 | cat",
        "cat /dev/zero",
    ],
)
def test_an_interrupt_ends_the_cell_and_keeps_the_shell(bash: Session, text: str) -> None:
    bash.run("x=kept")
    threading.Timer(0.2, bash.shell.interrupt).start()
    ending = bash.run(f"{text}\necho after", timeout=30)
    assert ending == Ending(130, interrupted=True)
    assert not bash.output.endswith("after\n")
    assert bash.run("echo $x") == Ending(0)
    assert bash.output == "kept\n"


def test_an_interrupt_that_is_ignored_grows_stronger(bash: Session) -> None:
    threading.Timer(0.2, bash.shell.interrupt).start()
    threading.Timer(0.4, bash.shell.interrupt).start()
    threading.Timer(0.6, bash.shell.interrupt).start()
    started = time.monotonic()
    ending = bash.run("sh -c 'trap \"\" INT TERM; sleep 60; sleep 60'", timeout=30)
    assert ending.interrupted
    assert time.monotonic() - started < 20
    assert bash.run("echo alive").exit == 0


def test_a_timeout_interrupts(bash: Session) -> None:
    ending = bash.run("sleep 60", timeout=0.3)
    assert ending.timed_out
    assert not ending.interrupted
    assert bash.run("echo alive") == Ending(0)


def test_a_job_in_the_background_does_not_hold_the_cell(bash: Session) -> None:
    assert bash.run("sleep 60 &\necho started") == Ending(0)
    assert "started\n" in bash.output
    assert bash.run("jobs") == Ending(0)
    assert "sleep 60" in bash.output


def test_close_leaves_no_process(bash: Session) -> None:
    bash.run(
        "sleep 61 & (sleep 62 &) ; nohup sleep 63 >/dev/null 2>&1 & sh -c 'trap \"\" TERM HUP; sleep 64' &"
    )
    pid = bash.shell.pid
    assert pid
    assert len(session_members(pid)) >= 4
    bash.shell.close()
    assert session_members(pid) == []


def test_a_flood_is_drained_and_its_end_is_exact(bash: Session) -> None:
    count, last = 0, b""

    def on_bytes(data: bytes) -> None:
        nonlocal count, last
        count += len(data)
        last = (last + data)[-64:]

    assert bash.shell.run("yes 0123456789 | head -c 22000000; echo; echo end", on_bytes=on_bytes).exit == 0
    assert count == 24_000_000 + len("\r\nend\r\n")
    assert last.endswith(b"0123456789\r\n\r\nend\r\n")


def test_output_between_cells_does_not_block_the_shell(bash: Session) -> None:
    bash.run("(sleep 0.1; yes | head -c 1000000; touch done) &")
    for _ in range(200):
        if bash.run("test -f done").exit == 0:
            break
        time.sleep(0.05)
    assert bash.run("test -f done").exit == 0


def test_the_size_of_the_window_follows(bash: Session) -> None:
    bash.run("stty size </dev/tty")
    assert bash.output == "24 100\n"
    bash.shell.resize(40, 132)
    bash.run("stty size </dev/tty")
    assert bash.output == "40 132\n"


def test_a_killed_shell_is_reported(bash: Session) -> None:
    assert bash.run("kill -9 $$") == Ending(137, died=True)
    assert bash.run("echo new") == Ending(0)


def test_a_view_that_fails_ends_the_shell(bash: Session) -> None:
    def fail(data: bytes) -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        bash.shell.run("echo x; sleep 60", on_bytes=fail)
    assert not bash.shell.alive
    assert bash.run("echo new") == Ending(0)


def test_a_shell_that_is_not_there(tmp_path: Path) -> None:
    shell = Shell("fish", cwd=tmp_path, environment={"PATH": str(tmp_path)})
    with pytest.raises(ShellUnavailable, match="fish is not on this machine"):
        shell.start()


@pytest.mark.parametrize("dialect", ["sh", "zsh", "fish"])
def test_other_shells(tmp_path: Path, dialect: str) -> None:
    if not shutil.which(dialect):
        pytest.skip(f"{dialect} is not installed")
    shell = Shell(dialect, cwd=tmp_path)
    pieces: list[bytes] = []

    def run(text: str, **options: object) -> Ending:
        pieces.clear()
        return shell.run(text, on_bytes=pieces.append, **options)  # type: ignore[arg-type]

    assert run("echo hi; cd /", exports={"A": "it's"}) == Ending(0)
    assert run("pwd; echo $A; false") == Ending(1)
    assert b"".join(pieces) == b"/\r\nit's\r\n"
    threading.Timer(0.2, shell.interrupt).start()
    assert run("sleep 60", timeout=30).interrupted
    assert run("echo alive") == Ending(0)
    assert run("echo 'unfinished", timeout=20).exit != 0
    # In fish, `exit` in a file that is sourced ends the file.
    assert run("exit 4") == Ending(4, died=dialect != "fish")
    assert run("echo new") == Ending(0)
    shell.close()


def test_nothing_of_the_environment_is_taken_for_ours(tmp_path: Path) -> None:
    environment = {**os.environ, "PS1": "evil", "PROMPT_COMMAND": "touch evil", "BASH_ENV": "/nowhere"}
    shell = Shell("bash", cwd=tmp_path, environment=environment)
    assert shell.run("true", on_bytes=lambda data: None) == Ending(0)
    shell.close()
    assert not (tmp_path / "evil").exists()


def test_no_shell_is_left_by_a_parent_that_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from journal.run.shell import Shell\n"
        "s = Shell('bash', cwd=Path.cwd()); s.start(); print(s.pid, flush=True)\n"
        "s.run('sleep 65', on_bytes=lambda d: None)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        pid = int(parent.stdout.readline())
        time.sleep(0.3)
        parent.kill()
    for _ in range(100):
        if not session_members(pid) and not Path(f"/proc/{pid}/cmdline").exists():
            break
        time.sleep(0.05)
    assert session_members(pid) == []
