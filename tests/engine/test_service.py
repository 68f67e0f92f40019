"""One engine process for all clients: shared, started on demand, ended, killed, started again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from engine import services
from engine.errors import EngineError, EngineStopped, EngineUnavailable, ModelFileMissing, UsageError
from engine.request import Cancel, Request
from engine.runtime.address import Spec
from engine.runtime.client import EngineClient
from engine.runtime.launch import Link
from engine.runtime.shared import SharedEngine
from engine.settings import Settings
from tests.engine.service_home import (
    ANSWER,
    ENDLESS,
    HOLE,
    WAIT_S,
    client_of,
    eventually,
    fake,
    home,
    is_alive,
    pid_of,
)

__all__ = ["home"]
pytestmark = pytest.mark.usefixtures("home")


def test_two_clients_share_one_engine() -> None:
    spec = fake()
    with client_of(spec, name="editor") as editor, client_of(spec, name="shell") as shell:
        assert editor.submit(HOLE).future.result(WAIT_S).text == ANSWER
        assert shell.submit(HOLE).future.result(WAIT_S).text == ANSWER
        status = shell.status()
        assert pid_of(editor) == status["service"]["pid"] != os.getpid()
        assert sorted(each["name"] for each in status["service"]["clients"]) == ["editor", "shell"]
        assert (status["requests"], status["loaded"]) == (2, True)
        # What one client had computed is there for the other.
        assert status["tokens"]["reused"] > 0


def test_everything_an_engine_thread_does_goes_through_the_socket() -> None:
    with client_of(fake()) as client:
        texts: list[str] = []
        job = client.submit(HOLE, on_text=texts.append, client="a")
        assert job.future.result(WAIT_S).text == ANSWER
        assert texts
        assert texts[-1] == ANSWER
        assert client.plan(HOLE).result(WAIT_S).documents[0].name == "ledger.py"
        assert client.count("one two").result(WAIT_S) == 3
        assert client.warm().result(WAIT_S) == client.info()
        client.prepare(HOLE, client="a")
        client.drop("a")
        assert client.busy is False
        with pytest.raises(UsageError, match="max_tokens"):
            client.submit(Request("", "", max_tokens=-1)).future.result(WAIT_S)


def test_half_a_surrogate_pair_is_no_reason_to_fail() -> None:
    with client_of(fake()) as client:
        assert client.count("a \ud800").result(WAIT_S) == 3


def test_the_newest_request_of_a_client_wins_and_only_of_that_client() -> None:
    spec = fake(5)
    with client_of(spec) as one, client_of(spec) as other:
        begun = threading.Event()
        first = one.submit(ENDLESS, on_text=lambda text: begun.set(), client="editor")
        assert begun.wait(WAIT_S)
        # The same name on another connection is another client.
        elsewhere = other.submit(HOLE, client="editor")
        second = one.submit(HOLE, client="editor")
        assert first.future.result(WAIT_S).stop == "cancelled"
        assert elsewhere.future.result(WAIT_S).text == second.future.result(WAIT_S).text == ANSWER


def test_clients_take_turns_however_often_one_asks() -> None:
    spec = fake(5)
    order: list[str] = []
    with client_of(spec) as eager, client_of(spec) as modest:
        begun = threading.Event()
        jobs = [eager.submit(ENDLESS, on_text=lambda text: begun.set())]
        assert begun.wait(WAIT_S)
        patient = modest.submit(HOLE)
        eventually(lambda: len(modest.status()["waiting"]) == 1)
        jobs += [eager.submit(HOLE) for _ in range(5)]
        patient.future.add_done_callback(lambda done: order.append("modest"))
        jobs[-1].future.add_done_callback(lambda done: order.append("eager"))
        assert jobs[-1].future.result(WAIT_S).text == ANSWER
        eventually(lambda: len(order) == 2)
        assert [job.future.result().stop for job in jobs[:-1]] == ["cancelled"] * 5
        assert patient.future.result(WAIT_S).text == ANSWER
        counts = modest.status()
        assert counts["requests"] == 7


@pytest.mark.parametrize("how", ["job", "future", "cancel"])
def test_a_cancel_ends_the_work(how: str) -> None:
    with client_of(fake(5)) as client:
        begun, cancel = threading.Event(), Cancel()
        job = client.submit(ENDLESS, on_text=lambda text: begun.set(), cancel=cancel)
        assert begun.wait(WAIT_S)
        {"job": job.cancel, "future": job.future.cancel, "cancel": cancel.set}[how]()
        if how != "future":
            assert job.future.result(WAIT_S).stop == "cancelled"
        eventually(lambda: client.status()["running"] is None)
        assert client.status()["cancelled"] == 1


def test_a_request_survives_the_death_of_the_engine() -> None:
    with client_of(fake(20)) as client:
        killed: list[int] = []

        def kill_once(text: str) -> None:
            if not killed:
                killed.append(client._link.welcome.pid)
                os.kill(killed[0], signal.SIGKILL)

        job = client.submit(HOLE, on_text=kill_once)
        assert job.future.result(WAIT_S).text == ANSWER
        assert pid_of(client) not in killed
        assert client.submit(HOLE).future.result(WAIT_S).text == ANSWER


def test_a_request_that_kills_the_engine_twice_fails() -> None:
    with client_of(fake(20)) as client:
        job = client.submit(HOLE, on_text=lambda text: os.kill(client._link.welcome.pid, signal.SIGKILL))
        with pytest.raises(EngineError, match="failed twice"):
            job.future.result(WAIT_S)
        assert client.submit(HOLE).future.result(WAIT_S).text == ANSWER


def test_what_was_cancelled_is_not_sent_to_the_next_engine() -> None:
    with client_of(fake(5)) as client:
        begun = threading.Event()
        job = client.submit(ENDLESS, on_text=lambda text: begun.set())
        assert begun.wait(WAIT_S)
        pid = pid_of(client)
        os.kill(pid, signal.SIGSTOP)
        job.cancel()
        os.kill(pid, signal.SIGKILL)
        assert job.future.result(WAIT_S).stop == "cancelled"
        assert client.status()["requests"] == 0


def test_a_killed_client_leaves_nothing_behind() -> None:
    spec = fake(5)
    program = (
        "from tests.engine.service_home import *\n"
        "same_build()\n"
        "client = client_of(fake(5), name='doomed')\n"
        "client.submit(ENDLESS, on_text=lambda text: print('begun', flush=True)).future.result()\n"
    )
    with client_of(spec) as client:
        client.warm().result(WAIT_S)
        process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
        with process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"begun\n"
            assert "doomed" in client.status()["running"]
            process.kill()
        eventually(lambda: client.status()["running"] is None)
        assert [each["name"] for each in client.status()["service"]["clients"]] == ["test"]
        assert client.submit(HOLE).future.result(WAIT_S).text == ANSWER


def test_many_starts_at_once_give_one_engine() -> None:
    spec = fake()
    with ThreadPoolExecutor(6) as pool:
        clients = list(pool.map(lambda number: client_of(spec, name=str(number)), range(6)))
        pids = set(pool.map(pid_of, clients))
    for client in clients:
        client.close()
    assert len(pids) == 1
    assert [found.pid for found in services.find()] == list(pids)


def test_two_starts_at_once_in_two_processes_give_one_engine() -> None:
    program = (
        "from tests.engine.service_home import *\n"
        "same_build()\n"
        "with client_of(fake()) as client: print(pid_of(client))"
    )
    started = [subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) for _ in range(2)]
    said = {process.communicate(timeout=WAIT_S)[0] for process in started}
    assert len(said) == 1


def test_other_settings_or_another_model_are_another_engine(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(b"one")
    before = Spec(str(file), Settings()).name
    file.write_bytes(b"another")
    names = {
        before,
        Spec(str(file), Settings()).name,
        Spec(str(file), Settings(threads=3)).name,
        Spec(str(file), Settings(adapter=str(file))).name,
        fake().name,
        fake(1).name,
    }
    file.write_bytes(b"a third")
    names.add(Spec("elsewhere.gguf", Settings(adapter=str(file))).name)
    file.write_bytes(b"a fourth one")
    names.add(Spec("elsewhere.gguf", Settings(adapter=str(file))).name)
    assert len(names) == 8
    # What goes with each request, or concerns the front end alone, is no reason for a second process.
    assert fake(max_tokens=3, engine_idle_minutes=1, patience_ms=5).name == fake().name


def test_an_idle_engine_ends_and_the_next_request_starts_another() -> None:
    spec = fake(engine_idle_minutes=0.005)
    with client_of(spec) as client:
        pid = pid_of(client)
        eventually(lambda: not is_alive(pid))
        assert not spec.socket.exists()
        assert client.submit(HOLE).future.result(WAIT_S).text == ANSWER
        assert pid_of(client) != pid


def test_a_long_request_is_not_idleness() -> None:
    with client_of(fake(30, engine_idle_minutes=0.005)) as client:
        request = Request(ENDLESS.prefix, "", documents=ENDLESS.documents, max_tokens=60, stop_at="block")
        assert client.submit(request).future.result(WAIT_S).tokens_generated == 60
        assert client.status()["requests"] == 1


def test_stop_ends_it_and_says_so_to_those_who_wait() -> None:
    spec = fake(5)
    with client_of(spec) as client:
        begun = threading.Event()
        job = client.submit(ENDLESS, on_text=lambda text: begun.set())
        assert begun.wait(WAIT_S)
        (found,) = services.find()
        assert found.status is not None
        assert services.end(found).how == "stopped"
        with pytest.raises(EngineStopped, match="was stopped: the next request starts it again"):
            job.future.result(WAIT_S)
        eventually(lambda: not is_alive(found.pid))
        assert not spec.socket.exists()
        assert client.submit(HOLE).future.result(WAIT_S).text == ANSWER


def test_an_engine_that_does_not_answer_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_ANSWER_S", "_GRACE_S"):
        monkeypatch.setattr(services, name, 0.3)
    monkeypatch.setattr(services, "_TERMINATED_S", 3.0)
    spec = fake()
    with client_of(spec) as client:
        pid = pid_of(client)
        os.kill(pid, signal.SIGSTOP)
        with pytest.raises(EngineUnavailable, match="does not answer: `steerway engine stop` ends it"):
            Link.open(spec.socket, service=spec.name, name="test", answer_s=0.3)
        (found,) = services.find()
        assert found.problem
        assert services.end(found).how == "was killed"
        eventually(lambda: not is_alive(pid))


def test_what_a_dead_engine_left_is_taken_over() -> None:
    spec = fake()
    with client_of(spec) as client:
        pid = pid_of(client)
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not is_alive(pid))
    assert spec.socket.exists()
    assert services.find() == []
    with client_of(spec) as client:
        assert pid_of(client) != pid


def test_a_file_where_the_socket_belongs_is_replaced() -> None:
    spec = fake()
    spec.socket.write_text("not a socket")
    with client_of(spec) as client:
        assert client.submit(HOLE).future.result(WAIT_S).text == ANSWER


def test_what_loading_raises_arrives_as_what_it_is(tmp_path: Path) -> None:
    def missing() -> Spec:
        raise ModelFileMissing("the model x is not on this machine", hint="pull it", subject="x")

    with EngineClient(missing) as client, pytest.raises(ModelFileMissing, match="pull it"):
        client.info()
    gone = Spec(str(tmp_path / "gone.gguf"), Settings())
    with client_of(gone) as client:
        with pytest.raises(ModelFileMissing, match="there is no file") as caught:
            client.submit(HOLE).future.result(WAIT_S)
        assert caught.value.hint == "check the path"
        assert caught.value.subject == gone.model
        # The process lives on, and looks again at the next request.
        assert client.status()["loaded"] is False


def test_a_log_says_why_it_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    monkeypatch.setenv("PYTHONHOME", "/nowhere")
    with client_of(fake()) as client, pytest.raises(EngineUnavailable, match=r"did not start: .*\.log"):
        client.info()


def test_a_closed_client_says_so() -> None:
    client = client_of(fake())
    begun = threading.Event()
    job = client.submit(ENDLESS, on_text=lambda text: begun.set())
    assert begun.wait(WAIT_S)
    client.close()
    client.close()
    with pytest.raises(EngineStopped):
        job.future.result(0)
    with pytest.raises(EngineStopped):
        client.submit(HOLE)


def test_commands_use_it_as_an_engine() -> None:
    engine = SharedEngine(client_of(fake()))
    texts: list[str] = []
    try:
        assert engine.suggest(HOLE, on_text=texts.append).text == ANSWER
        assert engine.plan(HOLE).prompt_tokens > 0
        assert engine.count("a b") == 3
        assert engine.info.backend == "fake"
        assert engine.prepare(HOLE, cancel=Cancel()) == 0
        assert engine.status()["loaded"] is True
    finally:
        engine.close()
    assert texts[-1] == ANSWER
