"""Starts the engine's service, and connects to it."""

from __future__ import annotations

import os
import select
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from engine.errors import EngineUnavailable
from engine.runtime import framing, messages
from engine.runtime.address import Spec, is_ours, private
from engine.runtime.messages import ToClient, ToService

START_S = 60.0
ANSWER_S = 10.0
_SEND_S = 10
_RECEIVE_BYTES = 2**18
_TRIES = 5
_GONE = (FileNotFoundError, ConnectionError, EOFError)


class Link:
    """A connection to a service that has greeted. One thread may send while another receives."""

    def __init__(self, connection: socket.socket, welcome: messages.Welcome) -> None:
        self.welcome = welcome
        self._socket = connection
        self._received = bytearray()

    @classmethod
    def open(cls, path: Path, *, service: str, name: str, answer_s: float = ANSWER_S) -> Link:
        """Connect and greet. Raises FileNotFoundError, ConnectionError, EOFError where nobody serves.

        Raises EngineUnavailable for a service that refuses or does not answer.
        """
        connection = socket.socket(socket.AF_UNIX)
        try:
            # A listener whose backlog is full or whose process is stopped would block for ever.
            connection.settimeout(answer_s)
            connection.connect(str(path))
            if not is_ours(connection):
                raise EngineUnavailable(f"{path} belongs to somebody else", hint="remove it", subject=path)
            link = cls(connection, messages.Welcome(0, "", 0, "", False))
            greeting = messages.Hello(messages.PROTOCOL, version("steerway"), service, name, os.getpid())
            connection.sendall(framing.pack(greeting))
            link.welcome = _welcomed(link.receive(answer_s))
            connection.settimeout(None)
            option = struct.pack("ll", _SEND_S, 0)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, option)
        except TimeoutError:
            connection.close()
            raise EngineUnavailable(
                "the engine's process does not answer", hint="`steerway engine stop` ends it", subject=path
            ) from None
        except BaseException:
            connection.close()
            raise
        return link

    def send(self, message: ToService | bytearray) -> None:
        """Send `message`, or its frame. Raises BadFrame (too long), OSError (nobody reads)."""
        frame = message if isinstance(message, bytearray) else framing.pack(message)
        self._socket.sendall(frame)

    def receive(self, wait_s: float) -> ToClient | None:
        """The next message; None when nothing came for so long. Raises EOFError, OSError, BadFrame."""
        while (message := self._next()) is None:
            if not _readable(self._socket.fileno(), wait_s):
                return None
            data = self._socket.recv(_RECEIVE_BYTES)
            if not data:
                raise EOFError
            self._received += data
        return message

    def shut(self) -> None:
        """End the connection; a `receive` under way sees its end. Idempotent."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def close(self) -> None:
        """Let go of the socket; nobody may be using it any more."""
        self._socket.close()

    def _next(self) -> ToClient | None:
        head = framing.LENGTH.size
        if len(self._received) < head:
            return None
        size = framing.length(self._received[:head])
        if len(self._received) < head + size:
            return None
        body = bytes(self._received[head : head + size])
        del self._received[: head + size]
        return framing.to_client(body)

    def __enter__(self) -> Link:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def connect(spec: Spec, *, name: str, on_wait: Callable[[str], None] = lambda message: None) -> Link:
    """A link to the service of `spec`, which is started where it does not run.

    `on_wait` hears what takes time. Raises EngineUnavailable: it cannot be started, or does not answer.
    """
    service, path = spec.name, spec.socket
    for _ in range(_TRIES):
        try:
            link = Link.open(path, service=service, name=name)
        except _GONE:
            on_wait("starting the engine")
            start(spec, service)
            continue
        if not link.welcome.loaded:
            on_wait("loading the model")
        return link
    raise EngineUnavailable("the engine ends as soon as it starts", hint=_why(spec.log), subject=spec.log)


def start(spec: Spec, service: str) -> None:
    """Start the service and wait until it listens, or another one does. Raises EngineUnavailable."""
    log = spec.log
    try:
        with _opened(log) as errors:
            process = subprocess.Popen(
                # -P: a module called `engine` in the current folder is not ours.
                [sys.executable, "-P", "-m", "engine.runtime.service", service],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                cwd="/",
                start_new_session=True,
            )
    except OSError as error:
        reason = error.strerror or str(error)
        raise EngineUnavailable("the engine's process cannot be started", hint=reason) from error
    with process:
        said = _told(process, spec)
    if said not in ("ready", "taken"):
        raise EngineUnavailable(f"the engine's process did not start: {said or 'it ended'}", hint=_why(log))


def _told(process: subprocess.Popen[bytes], spec: Spec) -> str:
    """The one line the service says. It has a parent only until then."""
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(spec.to_json())
        process.stdin.close()
    except BrokenPipeError:
        pass
    end = time.monotonic() + START_S
    said = b""
    while not said.endswith(b"\n"):
        if not _readable(process.stdout.fileno(), max(0.0, end - time.monotonic())):
            return f"it does not listen after {START_S:.0f} s"
        data = os.read(process.stdout.fileno(), 4096)
        if not data:
            break
        said += data
    return said.decode("utf-8", "replace").strip()


def _readable(descriptor: int, wait_s: float) -> bool:
    # Not select(2): an application may have more than 1024 files open.
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(wait_s * 1000))


def _opened(log: Path) -> BinaryIO:
    private(log.parent)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    return os.fdopen(os.open(log, flags, 0o600), "ab", buffering=0)


def _welcomed(answer: ToClient | None) -> messages.Welcome:
    match answer:
        case messages.Welcome():
            return answer
        case messages.Refused(reason):
            raise EngineUnavailable(f"the engine's process refuses: {reason}", hint="update Steerway")
        case messages.Bye():
            raise EOFError
        case None:
            raise TimeoutError
    raise EngineUnavailable("the engine's process does not greet", hint="`steerway engine stop` ends it")


def _why(log: Path) -> str:
    """The last line of the service's log, and where it is."""
    try:
        lines = log.read_text(errors="replace").split("\n")
    except OSError:
        return f"its log would be {log}"
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return f"{last} ({log})" if last else f"its log is {log}"
