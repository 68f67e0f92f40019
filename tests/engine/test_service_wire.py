"""What comes over the socket is not trusted: bounds, garbage, other users, other versions, folders."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from engine import services
from engine.documents import Document
from engine.errors import EngineUnavailable, UsageError
from engine.open import open_thread
from engine.request import Cancel, Request, Suggestion
from engine.runtime import address, framing, messages, service
from engine.runtime.base import Engine, OnText
from engine.runtime.client import EngineClient
from engine.runtime.connection import checked
from engine.runtime.fake import FakeEngine
from engine.runtime.framing import BadFrame
from engine.runtime.launch import Link
from engine.runtime.service import Service
from engine.runtime.worker import EngineThread
from engine.settings import Settings
from tests.engine.service_home import (
    ANSWER,
    HOLE,
    WAIT_S,
    client_of,
    eventually,
    fake,
    greeted,
    home,
    pid_of,
    raw,
    received,
)

__all__ = ["home"]


@pytest.mark.parametrize(
    "message",
    [
        messages.Hello(1, "0.1", "abc", "lsp", 7),
        messages.Submit(3, "editor", HOLE, True),
        messages.Prepare("editor", HOLE),
        messages.Count(4, "text \U0001f600"),
    ],
    ids=lambda message: type(message).__name__,
)
def test_a_message_comes_back_from_its_frame(message: messages.ToService) -> None:
    frame = framing.pack(message)
    assert framing.length(frame[:4]) == len(frame) - 4
    assert framing.to_service(bytes(frame[4:])) == message


def test_a_frame_too_long_is_refused_before_it_is_read_or_sent() -> None:
    with pytest.raises(BadFrame, match="at most 33,554,432"):
        framing.length(b"\xff\xff\xff\xff")
    with pytest.raises(BadFrame):
        framing.pack(messages.Count(1, "x" * framing.MAX_FRAME_BYTES))


@pytest.mark.parametrize(
    "body",
    [b"", b"\xc1", b"\x91" * 100_000, b"\x92\xa6submit\x01", msgspec.msgpack.encode(["welcome", 1, 2, 3])],
)
def test_bytes_that_are_no_message_are_one_error(body: bytes) -> None:
    with pytest.raises(BadFrame):
        framing.to_service(body)


@pytest.mark.parametrize(
    "change",
    [
        {"max_tokens": 0},
        {"max_tokens": 2**40},
        {"context_tokens": -1},
        {"budget_ms": float("nan")},
        {"temperature": float("inf")},
        {"seed": 2**70},
    ],
)
def test_numbers_beyond_reason_do_not_reach_the_engine(change: dict[str, float]) -> None:
    assert checked(HOLE) is HOLE
    with pytest.raises(UsageError, match=next(iter(change))):
        checked(Request("", "", **change))  # type: ignore[arg-type]


@pytest.mark.usefixtures("home")
def test_garbage_ends_a_connection_and_nothing_else() -> None:
    spec, dice = fake(), random.Random(20)
    valid = bytes(framing.pack(messages.Submit(1, "x", HOLE)))
    with client_of(spec) as client:
        pid = pid_of(client)
        for round_ in range(60):
            connection = greeted(spec) if round_ % 2 else raw(spec)
            with connection:
                try:
                    for _ in range(50):
                        connection.sendall(_garbage(dice, valid))
                except OSError:
                    # It hung up in the middle of our nonsense.
                    pass
        assert client.submit(HOLE).future.result(WAIT_S).text == ANSWER
        assert pid_of(client) == pid
        eventually(lambda: len(client.status()["service"]["clients"]) == 1)


def _garbage(dice: random.Random, valid: bytes) -> bytes:
    kind = dice.randrange(5)
    if kind == 0:
        return dice.randbytes(dice.randrange(1, 200))
    if kind == 1:
        body = dice.randbytes(dice.randrange(0, 100))
        return framing.LENGTH.pack(len(body)) + body
    if kind == 2:
        spoilt = bytearray(valid)
        spoilt[dice.randrange(4, len(spoilt))] = dice.randrange(256)
        return bytes(spoilt)
    if kind == 3:
        tags = ("submit", "plan", "count", "load", "report", "prepare", "drop", "ping", "welcome", "hello")
        fields = [dice.choice([None, -1, 2**63, "x", [], {}, b"\xff", 1.5]) for _ in range(dice.randrange(5))]
        body = msgspec.msgpack.encode([dice.choice(tags), *fields])
        return framing.LENGTH.pack(len(body)) + body
    return framing.LENGTH.pack(dice.randrange(2**32))


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    "greeting",
    [
        messages.Hello(99, "9.9", "", "newer", 1),
        messages.Hello(messages.PROTOCOL, "0.1", "0123456789abcdef", "lost", 1),
    ],
    ids=["another protocol", "another engine"],
)
def test_who_is_not_meant_is_refused_with_the_reason(greeting: messages.Hello) -> None:
    spec = fake()
    with client_of(spec) as client:
        client.info()
        with raw(spec) as connection:
            connection.sendall(framing.pack(greeting))
            answer = received(connection)
            assert isinstance(answer, messages.Refused)
            assert spec.name in answer.reason
            assert received(connection) is None
    with pytest.raises(EngineUnavailable, match="refuses: this is engine"):
        Link.open(spec.socket, service="0123456789abcdef", name="lost")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_another_user_is_not_served(home: Path) -> None:
    spec = fake()
    program = (
        "import os, socket, sys\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "connection = socket.socket(socket.AF_UNIX)\n"
        "connection.connect(sys.argv[1])\n"
        "try:\n"
        "    connection.sendall(bytes.fromhex(sys.argv[2]))\n"
        "    print(len(connection.recv(100)))\n"
        "except ConnectionError:\n"
        "    print(0)\n"
    )
    hello = framing.pack(messages.Hello(messages.PROTOCOL, "1", spec.name, "stranger", 1)).hex()
    command = [sys.executable, "-I", "-c", program, str(spec.socket), hello]
    with client_of(spec) as client:
        client.info()
        # What protects first is the folder; without it, the service itself looks who it is.
        assert subprocess.run(command, capture_output=True).returncode != 0
        for folder in (spec.socket, spec.socket.parent, spec.socket.parent.parent, home):
            folder.chmod(0o777)
        said = subprocess.run(command, capture_output=True, text=True)
        assert (said.stdout, said.stderr) == ("0\n", "")
        assert [each["name"] for each in client.status()["service"]["clients"]] == ["test"]


def test_the_folder_is_private_or_not_used(home: Path) -> None:
    folder = address.runtime_folder()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    folder.chmod(0o755)
    assert stat.S_IMODE(address.runtime_folder().stat().st_mode) == 0o700
    folder.rmdir()
    folder.symlink_to(home)
    with pytest.raises(EngineUnavailable, match="is not a folder of yours"):
        address.runtime_folder()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_somebody_else_is_not_used(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = address.runtime_folder()
    os.chown(folder, 65534, 65534)
    said: list[str] = []
    thread = open_thread(str(home / "model.gguf"), settings=Settings(engine="shared"), warn=said.append)
    assert isinstance(thread, EngineThread)
    thread.close()
    assert len(said) == 1
    assert "is not a folder of yours" in said[0]
    open_thread(str(home / "model.gguf"), settings=Settings(engine="shared")).close()
    assert capsys.readouterr().err.startswith("steerway: the engine is not shared: ")


def test_a_path_too_long_for_a_socket_goes_to_the_temporary_folder(home: Path) -> None:
    with pytest.MonkeyPatch.context() as changed:
        changed.setenv("STEERWAY_HOME", str(home / ("long" * 30)))
        folder = address.runtime_folder()
        assert folder.parent == Path("/tmp")
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        with client_of(fake()) as client:
            assert client.submit(HOLE).future.result(WAIT_S).text == ANSWER
        for found in services.find():
            services.end(found)
        shutil.rmtree(folder)


def test_xdg_runtime_dir_is_where_sockets_are(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STEERWAY_HOME")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(home))
    assert address.runtime_folder() == home / "steerway"


class Held(FakeEngine):
    """Holds a request back until it is cancelled; records what is prepared."""

    def __init__(self) -> None:
        super().__init__()
        self.prepared: list[str] = []
        self.entered = threading.Event()

    def suggest(
        self, request: Request, *, on_text: OnText | None = None, cancel: Cancel | None = None
    ) -> Suggestion:
        assert cancel is not None
        if request.prefix != "hold":
            return super().suggest(request, on_text=on_text, cancel=cancel)
        done = threading.Event()
        cancel.listen(done.set)
        self.entered.set()
        assert done.wait(WAIT_S)
        return Suggestion("", "cancelled")

    def prepare(self, request: Request, *, cancel: Cancel) -> int:
        self.prepared.append(request.prefix)
        done = threading.Event()
        cancel.listen(done.set)
        done.wait(0.05)
        return 10


@contextmanager
def serving(engine: Engine, folder: Path) -> Iterator[Path]:
    """A service on a thread of this process, around any engine."""
    path = folder / "s.sock"
    started: list[tuple[asyncio.AbstractEventLoop, Service]] = []

    async def run() -> None:
        house = Service(lambda: engine, name="here", model="fake", idle_s=0)
        started.append((asyncio.get_running_loop(), house))
        await house.run(service._listen(path), path)

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    eventually(path.exists)
    try:
        yield path
    finally:
        loop, house = started[0]
        with contextlib.suppress(RuntimeError):  # it ended by itself
            loop.call_soon_threadsafe(house.stop)
        thread.join()
    assert not path.exists()


def test_a_client_that_vanishes_is_dropped_with_all_it_wanted(home: Path) -> None:
    engine = Held()
    with serving(engine, home) as path:
        link = Link.open(path, service="here", name="doomed")
        link.send(messages.Prepare("editor", Request("ahead", "")))
        eventually(lambda: bool(engine.prepared))
        link.send(messages.Submit(1, "editor", Request("hold", "")))
        assert engine.entered.wait(WAIT_S)
        link.shut()
        link.close()
        with Link.open(path, service="here", name="other") as other:
            other.send(messages.Submit(1, "", HOLE))
            answer = other.receive(WAIT_S)
            assert isinstance(answer, messages.Answered)
            assert answer.result.text == ANSWER
            other.send(messages.Report(2))
            report = other.receive(WAIT_S)
            assert isinstance(report, messages.Reported)
            assert report.result["preparing"] == {}
            assert [each["name"] for each in report.result["service"]["clients"]] == ["other"]


def test_a_client_that_does_not_read_does_not_hold_up_others(home: Path) -> None:
    document = Document("big.txt", "word " * 100_000)
    with serving(FakeEngine(), home) as path:
        deaf = Link.open(path, service="here", name="deaf")
        plan = framing.pack(messages.MakePlan(1, Request("x", "", documents=(document,), max_tokens=8)))
        for number in range(200):
            frame = framing.pack(
                messages.MakePlan(number + 2, Request("x", "", documents=(document,), max_tokens=8))
            )
            try:
                deaf.send(frame)
            except OSError:
                break
            if number > 20:
                break
        assert len(plan) > 400_000
        with Link.open(path, service="here", name="other") as other:
            other.send(messages.Submit(1, "", HOLE))
            answer = other.receive(WAIT_S)
            assert isinstance(answer, messages.Answered)
        deaf.close()


def test_an_engine_that_falls_silent_is_given_up(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that is there and says nothing (stopped, deadlocked) never leaves a request pending."""
    from engine.runtime import client as module

    monkeypatch.setattr(module, "_LISTEN_S", 0.05)
    monkeypatch.setattr(module, "_SILENT_S", 0.2)
    path = home / "mute.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        mute = threading.Thread(target=_greet_and_fall_silent, args=(listening,))
        mute.start()
        monkeypatch.setattr(
            module.launch, "connect", lambda spec, **options: Link.open(path, service="", name="test")
        )
        with EngineClient(fake) as client, pytest.raises(Exception, match=r"failed twice .*does not answer"):
            client.info()
        listening.shutdown(socket.SHUT_RDWR)  # ends its accept, which closing does not
        mute.join(10)


def _greet_and_fall_silent(listening: socket.socket) -> None:
    kept: list[socket.socket] = []
    while True:
        try:
            connection, _ = listening.accept()
        except OSError:
            for each in kept:
                each.close()
            return
        kept.append(connection)
        welcome = messages.Welcome(messages.PROTOCOL, "1", os.getpid(), "mute", True)
        connection.sendall(framing.pack(welcome))


def test_an_engine_nobody_can_reach_ends(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "_TICK_S", 0.05)
    before = threading.active_count()
    with serving(FakeEngine(), home) as path:
        path.unlink()
        eventually(lambda: threading.active_count() == before)
