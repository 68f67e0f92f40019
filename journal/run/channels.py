"""The sockets to one kernel: Jupyter's messages over ZeroMQ, in a folder only the user can enter."""

from __future__ import annotations

import os
import secrets
import time
from pathlib import Path
from typing import Any

import zmq
from jupyter_client.connect import write_connection_file
from jupyter_client.session import Session

Message = dict[str, Any]


class Channels:
    """Writes `c.json` in `folder` and connects to what a kernel started with it will bind."""

    def __init__(self, folder: Path) -> None:
        key = secrets.token_hex(16).encode()
        # Sockets in a folder of mode 0700: no port to race for, and nobody else on the machine can connect.
        _, info = write_connection_file(
            str(folder / "c.json"), transport="ipc", ip=str(folder / "s"), key=key, kernel_name="steerway"
        )
        self.ready = False
        self._session = Session(key=key)
        self._context = zmq.Context()
        self._shell = self._connect(zmq.DEALER, info, "shell_port")
        self._control = self._connect(zmq.DEALER, info, "control_port")
        self._stdin = self._socket(zmq.DEALER)
        self._stdin_address = _address(info, "stdin_port")
        self._iopub = self._connect(zmq.SUB, info, "iopub_port")
        self._iopub.setsockopt(zmq.SUBSCRIBE, b"")
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_write, False)
        self._poller = zmq.Poller()
        for socket in (self._iopub, self._shell, self._stdin, self._wake_read):
            self._poller.register(socket, zmq.POLLIN)
        self._request = ""
        self._heard = False
        self._asks = False

    def _connect(self, kind: int, info: dict[str, Any], port: str) -> zmq.Socket[bytes]:
        socket = self._socket(kind)
        socket.connect(_address(info, port))
        return socket

    def _socket(self, kind: int) -> zmq.Socket[bytes]:
        socket = self._context.socket(kind)
        socket.linger = 0
        socket.setsockopt(zmq.RECONNECT_IVL, 5)
        socket.setsockopt(zmq.IDENTITY, self._session.bsession)
        return socket

    def handshake(self, wait_s: float) -> bool:
        """Ask who is there; True once both the answer and the outputs' channel have been heard from."""
        if not self.ready:
            self._session.send(self._shell, "kernel_info_request", {})
            deadline = time.monotonic() + wait_s
            answered = False
            while time.monotonic() < deadline and not (answered and self._heard):
                for socket, _ in self._poller.poll(max(1, int((deadline - time.monotonic()) * 1000))):
                    message = self._take(socket)
                    if (message or {}).get("msg_type") == "kernel_info_reply":
                        answered = self._asks
                        self._ask()
                    self._heard = self._heard or socket is self._iopub
            self.ready = answered and self._heard
        return self.ready

    def _ask(self) -> None:
        """Connect the questions' channel to a kernel that answers, and hear from it once more.

        A kernel drops a question for a socket that is not connected, and the cell would wait for ever. A
        kernel that answers has bound the address; the second answer takes longer than the connection.
        """
        if not self._asks:
            self._asks = True
            self._stdin.connect(self._stdin_address)
            self._session.send(self._shell, "kernel_info_request", {})

    def execute(self, code: str, *, silent: bool, stdin: bool) -> None:
        """Send a cell's code; its messages are what `receive` gives from now on."""
        content = {
            "code": code,
            "silent": silent,
            "store_history": not silent,
            "user_expressions": {},
            "allow_stdin": stdin,
            "stop_on_error": True,
        }
        self._request = self._session.send(self._shell, "execute_request", content)["header"]["msg_id"]

    def receive(self, timeout_s: float) -> list[tuple[str, Message]]:
        """Messages of the running request, [] after `timeout_s` or `wake`."""
        messages = []
        for socket, _ in self._poller.poll(int(timeout_s * 1000)):
            message = self._take(socket)
            if message and message["parent_header"].get("msg_id") == self._request:
                messages.append((message["msg_type"], message))
        return messages

    def _take(self, socket: Any) -> Message | None:
        if not isinstance(socket, zmq.Socket):
            os.read(self._wake_read, 4096)
            return None
        try:
            _, message = self._session.recv(socket, zmq.NOBLOCK)
        except ValueError:
            # A message that is not signed with our key.
            return None
        return message  # type: ignore[no-any-return]

    def reply_input(self, line: str) -> None:
        """Answer an `input_request`."""
        self._session.send(self._stdin, "input_reply", {"value": line})

    def request_interrupt(self) -> None:
        """Ask by message, for kernels that say they want it so."""
        self._session.send(self._control, "interrupt_request", {})

    def wake(self) -> None:
        """End a wait in `receive` at once, from any thread."""
        try:
            os.write(self._wake_write, b".")
        except OSError:
            pass

    def close(self) -> None:
        """Close the sockets."""
        for socket in (self._shell, self._control, self._stdin, self._iopub):
            socket.close(0)
        self._context.term()
        os.close(self._wake_read)
        os.close(self._wake_write)


def _address(info: dict[str, Any], port: str) -> str:
    return f"ipc://{info['ip']}-{info[port]}"
