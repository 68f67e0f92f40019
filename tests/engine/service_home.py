"""A home whose engines end with the test, and the raw other side of the socket."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine import services
from engine.documents import Document
from engine.errors import EngineUnavailable
from engine.request import Request
from engine.runtime import address, framing, messages
from engine.runtime.address import Spec
from engine.runtime.client import EngineClient
from engine.settings import Settings

WAIT_S = 60.0
LEDGER = Document("ledger.py", "book.enter(amount_cents=cents, memo=reason)\n")
HOLE = Request(prefix="def refund(book, cents, reason):\n    book.", suffix="\n", documents=(LEDGER,))
ANSWER = "enter(amount_cents=cents, memo=reason)"
LOOP = Document("loop.py", "word " * 4)
# Copies "word word word ..." for as many tokens as it may: a request of any length.
ENDLESS = Request(prefix="word word ", suffix="", documents=(LOOP,), max_tokens=4000, stop_at="block")


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Folders of this test alone, with a path short enough for sockets; no engine survives it."""
    folder = Path(tempfile.mkdtemp(prefix="steerway-test-"))
    monkeypatch.setenv("STEERWAY_HOME", str(folder))
    monkeypatch.setenv("STEERWAY_ENGINE", "shared")
    monkeypatch.setattr(address, "build", address.build)
    same_build()
    yield folder
    with contextlib.suppress(EngineUnavailable):
        for found in services.find():
            os.kill(found.pid, 9)
        eventually(lambda: services.find() == [])
    shutil.rmtree(folder)


# For the processes of a test, as `same_build` for its own.
SAME_BUILD = "import engine.runtime.address as address; address.build = lambda: 'tests'"


def same_build() -> None:
    """Who edits the program while its tests run would have another engine in every process."""
    address.build = lambda: "tests"  # type: ignore[assignment]


def fake(delay_ms: float = 0, **settings: object) -> Spec:
    """The deterministic engine in a process of its own, so many milliseconds a token."""
    return Spec(f"fake:{delay_ms:g}", Settings(**settings))  # type: ignore[arg-type]


def client_of(spec: Spec, *, name: str = "test") -> EngineClient:
    return EngineClient(lambda: spec, name=name)


def eventually(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.02)


def pid_of(client: EngineClient) -> int:
    pid = client.status()["service"]["pid"]
    assert isinstance(pid, int)
    return pid


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def raw(spec: Spec) -> socket.socket:
    """A connection on which nothing was said yet."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(WAIT_S)
    connection.connect(str(spec.socket))
    return connection


def greeted(spec: Spec) -> socket.socket:
    connection = raw(spec)
    connection.sendall(framing.pack(messages.Hello(messages.PROTOCOL, "1", spec.name, "raw", os.getpid())))
    assert isinstance(received(connection), messages.Welcome)
    return connection


def received(connection: socket.socket) -> messages.ToClient | None:
    """The next message; None at the end of the stream."""
    try:
        header = connection.recv(4, socket.MSG_WAITALL)
        if len(header) < 4:
            return None
        return framing.to_client(connection.recv(framing.length(header), socket.MSG_WAITALL))
    except ConnectionError:
        return None
