"""`steerway engine`, and what commands have of a shared engine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from engine import services
from engine.open import open_shared, open_thread
from engine.runtime.client import EngineClient
from engine.runtime.shared import SharedEngine
from engine.runtime.worker import EngineThread
from engine.service_cli import engine
from engine.settings import Settings
from tests.engine.service_home import SAME_BUILD, WAIT_S, client_of, eventually, fake, home, pid_of

__all__ = ["home"]
pytestmark = pytest.mark.usefixtures("home")

# One build, however the files of the program change meanwhile; and what the command imported.
_COMMAND = (
    f"import sys; {SAME_BUILD}\n"
    "from journal.commands.root import run\n"
    "code = run(sys.argv[1:])\n"
    "print(*sorted({name.partition('.')[0] for name in sys.modules} & {'numpy', 'llama_cpp', 'asyncio'}),"
    " file=sys.stderr)\n"
    "sys.exit(code)\n"
)


def steerway(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", _COMMAND, *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=WAIT_S * 2)


def invoke(*arguments: str) -> str:
    result = CliRunner().invoke(engine, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def test_status_says_what_runs_and_stop_ends_it() -> None:
    assert invoke("status") == "no engine runs; the first request starts one\n"
    assert json.loads(invoke("status", "--json")) == []
    assert invoke("stop") == "no engine runs\n"
    with client_of(fake(), name="editor") as client:
        pid = pid_of(client)
        client.info()
        shown = invoke("status")
        assert f"fake:0  process {pid}" in shown
        assert "client editor (process" in shown
        (status,) = json.loads(invoke("status", "--json"))
        assert status["service"]["pid"] == pid
        assert status["loaded"] is True
        assert status["service"]["rss_bytes"] > 1_000_000
    assert invoke("stop") == f"fake:0: process {pid} stopped\n"
    assert json.loads(invoke("stop", "--json")) == []


def test_several_engines_are_all_listed() -> None:
    with client_of(fake()) as one, client_of(fake(1)) as other:
        pids = {pid_of(one), pid_of(other)}
        assert {each["service"]["pid"] for each in json.loads(invoke("status", "--json"))} == pids
        assert {each["how"] for each in json.loads(invoke("stop", "--json"))} == {"stopped"}


def test_an_engine_that_hangs_is_said_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "_ANSWER_S", 0.3)
    with client_of(fake()) as client:
        pid = pid_of(client)
        os.kill(pid, signal.SIGSTOP)
        assert "does not answer" in invoke("status")
        (status,) = json.loads(invoke("status", "--json"))
        assert status["service"]["pid"] == pid
        assert "does not answer" in status["service"]["problem"]


def test_who_opens_an_engine_says_where_or_the_settings_do() -> None:
    shared, inline = Settings(engine="shared"), Settings(engine="inline")
    file = "/nowhere/model.gguf"
    for thread, kind in (
        (open_thread(file, settings=shared), EngineClient),
        (open_thread(file, settings=shared, where="inline"), EngineThread),
        (open_thread(file, settings=inline), EngineThread),
        (open_thread(file, settings=inline, where="shared"), EngineClient),
        (open_thread("fake", settings=shared), EngineThread),
        (open_thread("remote:http://127.0.0.1:1#x", settings=shared), EngineThread),
    ):
        assert isinstance(thread, kind)
        thread.close()
    opened = open_shared(file, settings=shared)
    assert isinstance(opened, SharedEngine)
    opened.close()
    assert open_shared("fake", settings=shared).info.backend == "fake"
    assert services.find() == []


def test_a_model_that_is_missing_is_one_line_and_no_process(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = ")
    for arguments in (
        ["complete", "a.py:1:5", "--model", "none.gguf"],
        ["engine", "start", "--model", "none.gguf"],
    ):
        done = steerway(*arguments, cwd=tmp_path)
        assert done.returncode == 5
        assert done.stderr.startswith("steerway: there is no file none.gguf: check the path\n")
    assert services.find() == []


@pytest.mark.model
def test_the_second_command_loads_no_model(small_model: Path, tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("def add(a, b):\n    return a + b\n\n\ndef sub(a, b):\n    \n")
    arguments = ("complete", "a.py:6:5", "--model", str(small_model), "--json")
    answers: list[dict[str, Any]] = []
    for _ in range(2):
        done = steerway(*arguments, cwd=tmp_path)
        assert done.returncode == 0
        # Nothing heavy is imported for it, the model's libraries least of all.
        assert done.stderr == "\n"
        answers.append(json.loads(done.stdout))
    (found,) = services.find()
    assert found.status is not None
    assert found.status["requests"] == 2
    assert answers[0]["text"] == answers[1]["text"] != ""
    assert answers[1]["tokens_computed"] < answers[0]["tokens_computed"]

    again = steerway("engine", "start", "--model", str(small_model), "--json")
    assert json.loads(again.stdout)["service"]["pid"] == found.pid
    inline = steerway(*arguments, "--engine", "inline", cwd=tmp_path)
    assert json.loads(inline.stdout)["text"] == answers[0]["text"]
    assert "numpy" in inline.stderr
    (still,) = services.find()
    assert still.status is not None
    assert still.status["requests"] == 2


@pytest.mark.model
def test_a_context_is_counted_by_the_same_process(small_model: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.journal.md").write_text("# Notes\n\nWhat I know.\n")
    (tmp_path / ".steerway").mkdir()
    arguments = ("context", "--model", str(small_model), "--json")
    shared = json.loads(steerway(*arguments, cwd=tmp_path).stdout)
    assert len(services.find()) == 1
    assert shared == json.loads(steerway(*arguments, "--engine", "inline", cwd=tmp_path).stdout)
    eventually(lambda: services.find() != [])
