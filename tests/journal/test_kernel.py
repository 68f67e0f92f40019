"""Python cells run in a Jupyter kernel: values, errors, interrupts, pictures, and kernels that die."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from journal.errors import CellNotRunnable, KernelUnavailable
from journal.run.escapes import strip
from journal.run.kernel import Kernel, literal
from journal.run.kernelspecs import KernelChoice, kernel_for
from journal.run.rich import as_text
from journal.run.shell import Ending

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


class Session:
    """A kernel and what it said last."""

    def __init__(self, folder: Path, **options: object) -> None:
        self.kernel = Kernel(
            kernel_for("python", folder),
            cwd=folder,
            environment=os.environ,
            **options,  # type: ignore[arg-type]
        )
        self.output = ""

    def run(self, text: str, **options: object) -> Ending:
        pieces: list[bytes] = []
        ending = self.kernel.run(text, on_bytes=pieces.append, **options)  # type: ignore[arg-type]
        self.output = strip(b"".join(pieces).decode())
        return ending


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    session = Session(tmp_path_factory.mktemp("kernel"))
    yield session
    session.kernel.close()


def test_names_persist_and_the_last_value_is_shown(python: Session) -> None:
    assert python.run("x = 20\nprint('set')") == Ending(0)
    assert python.run("x + 22") == Ending(0)
    assert python.output == "42\n"


def test_an_error_is_a_traceback_and_status_1(python: Session) -> None:
    assert python.run("1 / 0") == Ending(1)
    assert "ZeroDivisionError: division by zero" in python.output


@pytest.mark.parametrize("text", ["import time; time.sleep(60)", "while True: pass"])
def test_an_interrupt_keeps_the_kernel(python: Session, text: str) -> None:
    python.run("kept = 7")
    threading.Timer(0.3, python.kernel.interrupt).start()
    assert python.run(text, timeout=30) == Ending(130, interrupted=True)
    assert python.run("kept") == Ending(0)
    assert python.output == "7\n"


def test_a_timeout_interrupts(python: Session) -> None:
    assert python.run("import time; time.sleep(60)", timeout=0.3).timed_out
    assert python.run("1") == Ending(0)


def test_variables_and_environment(python: Session) -> None:
    python.run(
        "import os; print(n + 1, word, os.environ['PLACE'])",
        variables={"n": "3", "word": "hey"},
        exports={"PLACE": "here"},
    )
    assert python.output == "4 hey here\n"


def test_input_is_refused_when_nobody_is_there(python: Session) -> None:
    assert python.run("input('name? ')", timeout=20) == Ending(1)
    assert python.output == (
        "this cell asks for input and nobody is here to answer: run it in `steerway shell`\n"
    )


def test_input_is_answered(tmp_path: Path) -> None:
    asked = []

    def answer(prompt: str, secret: bool) -> str:
        asked.append((prompt, secret))
        return "Ada"

    session = Session(tmp_path, on_input=answer)
    session.run("import getpass; print(input('name? ') + getpass.getpass('word? '))")
    session.kernel.close()
    assert session.output == "AdaAda\n"
    assert asked == [("name? ", False), ("word? ", True)]


def test_a_picture_becomes_a_line_and_a_file(python: Session) -> None:
    pictures: list[tuple[str, bytes]] = []
    code = f"import base64; from IPython.display import Image\nImage(base64.b64decode('{PNG}'))"
    python.run(code, on_picture=lambda mime, content: pictures.append((mime, content)))
    assert python.output == "[image/png 1x1]\n"
    assert pictures[0][0] == "image/png"
    assert pictures[0][1].startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("bundle", "text"),
    [
        ({"text/plain": "a", "text/html": "<b>a</b>"}, "a\n"),
        ({"text/html": "<b>a &amp; b</b>"}, "a & b\n"),
        ({"image/png": "a"}, "[image/png, damaged]\n"),
        ({"image/jpeg": "AAAA"}, "[image/jpeg 3 bytes]\n"),
        ({"application/x-other": 1}, "[application/x-other]\n"),
        ({}, ""),
    ],
)
def test_rich_outputs_as_text(bundle: dict[str, object], text: str) -> None:
    assert as_text(bundle) == text


@pytest.mark.parametrize("text", ["import os; os._exit(3)", "import os; os.kill(os.getpid(), 9)"])
def test_a_dead_kernel_is_reported_and_replaced(tmp_path: Path, text: str) -> None:
    session = Session(tmp_path)
    session.run("x = 1")
    ending = session.run(text)
    assert ending == Ending(None, died=True)
    assert session.kernel.notice(ending) == (
        "the python3 kernel died: its variables are lost, the next cell gets a new one"
    )
    assert session.run("x").exit == 1
    assert "NameError" in session.output
    session.kernel.close()


def test_a_kernel_that_will_not_stop_is_ended(tmp_path: Path) -> None:
    session = Session(tmp_path)
    code = "import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: time.sleep(1)"
    ending = session.run(code, timeout=0.5)
    assert (ending.timed_out, ending.died) == (True, True)
    assert session.run("1") == Ending(0)
    session.kernel.close()


def test_close_from_another_thread_ends_the_cell(tmp_path: Path) -> None:
    session = Session(tmp_path)
    session.run("1")
    threading.Timer(0.3, session.kernel.close).start()
    assert session.run("import time; time.sleep(60)", timeout=30).died


def test_a_kernel_that_does_not_start_says_why(tmp_path: Path) -> None:
    choice = KernelChoice("broken", "python", (sys.executable, "-c", "raise SystemExit('no such thing')"))
    kernel = Kernel(choice, cwd=tmp_path, environment=os.environ)
    with pytest.raises(KernelUnavailable, match="broken kernel does not start: no such thing"):
        kernel.start()
    missing = Kernel(KernelChoice("gone", "x", ("/nowhere/kernel",)), cwd=tmp_path, environment=os.environ)
    with pytest.raises(KernelUnavailable, match="gone kernel does not start"):
        missing.start()


def test_a_language_that_nothing_runs(tmp_path: Path) -> None:
    with pytest.raises(CellNotRunnable, match="nothing on this machine runs cobol cells"):
        kernel_for("cobol", tmp_path)


def test_the_workspaces_own_environment_is_used_if_it_can_be(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / ".venv"], check=True)
    without = kernel_for("python", tmp_path)
    assert without.command[0] == sys.executable
    assert ".venv in the workspace has no ipykernel" in without.remark
    package = next((tmp_path / ".venv").glob("lib/python3*/site-packages")) / "ipykernel"
    package.mkdir()
    (package / "__init__.py").touch()
    own = kernel_for("python", tmp_path)
    assert own.command[0] == str(tmp_path / ".venv" / "bin" / "python")
    assert own.environment["VIRTUAL_ENV"] == str(tmp_path / ".venv")


@pytest.mark.parametrize(
    ("text", "value"), [("3", 3), ("True", True), ("[1, 2]", [1, 2]), ("a b", "a b"), ("", "")]
)
def test_parameters_are_literals_or_text(text: str, value: object) -> None:
    assert literal(text) == value


def wait_for(condition: Callable[[], object], limit_s: float = 30) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_kernel_ends_with_a_process_that_was_killed(tmp_path: Path) -> None:
    """Nobody closes a kernel after `kill -9`: it must notice by itself."""
    code = 'import os, time\nopen("pid", "w").write(str(os.getpid()))\ntime.sleep(600)'
    (tmp_path / "work.journal.md").write_text('```python {"name":"long"}\n' + code + "\n```\n")
    command = [sys.executable, "-c", "from journal.cli import main; main()", "run", "--trust"]
    runner = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    file = tmp_path / "pid"
    wait_for(lambda: file.exists() and file.read_text())
    kernel = psutil.Process(int(file.read_text()))
    runner.kill()
    runner.wait()
    wait_for(lambda: not kernel.is_running() or kernel.status() == psutil.STATUS_ZOMBIE)
