"""A Jupyter kernel for cells that are not shell: started when needed, interrupted, replaced when it dies.

The messages are those of the Jupyter protocol 5.x; the process is ours to start, so that it leads a
process group of its own which an interrupt or an end reaches as a whole.
"""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

from journal.errors import KernelUnavailable
from journal.run.channels import Channels
from journal.run.kernelspecs import KernelChoice
from journal.run.processes import end_session, signal_group
from journal.run.rich import OnPicture, as_text
from journal.run.shell import Ending, OnBytes

# (prompt, whether what is typed is secret) -> the line.
OnInput = Callable[[str, bool], str]

_START_S = 60.0
_POLL_S = 0.1
# After the reply the outputs are on their way; a kernel that says no "idle" is not waited for longer.
_SETTLE_S = 2.0
# What follows an interrupt: seconds since the first, and what to do.
_LADDER: tuple[tuple[float, str], ...] = ((0.0, "interrupt"), (1.5, "interrupt"), (4.0, "kill"))


class Kernel:
    """One kernel. `run` blocks; `interrupt` may come from any thread."""

    def __init__(
        self,
        choice: KernelChoice,
        *,
        cwd: Path,
        environment: Mapping[str, str],
        on_input: OnInput | None = None,
    ) -> None:
        self.choice = choice
        self._cwd = cwd
        self._environment = dict(environment)
        self._on_input = on_input
        self._starting = threading.RLock()
        self._turning = threading.RLock()
        self._process: subprocess.Popen[bytes] | None = None
        self._channels: Channels | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._interrupts = 0

    @property
    def alive(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        """The kernel's process id."""
        return self._process.pid if self._process else None

    def start_soon(self) -> None:
        """Start the process now and leave the waiting to `run`."""
        with self._starting:
            if not self.alive:
                self._launch()

    def start(self) -> bool:
        """Start and wait until it answers; False when it was interrupted. Raises KernelUnavailable."""
        with self._starting:
            if not self.alive:
                self._launch()
            return self._await_ready()

    def _launch(self) -> None:
        self._end()
        self._folder = tempfile.TemporaryDirectory(prefix="steerway-k")
        folder = Path(self._folder.name)
        self._channels = Channels(folder)
        command = [part.replace("{connection_file}", str(folder / "c.json")) for part in self.choice.command]
        environment = {**self._environment, **self.choice.environment}
        environment.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")
        # ipykernel ends by itself when this process is gone, however it went.
        environment["JPY_PARENT_PID"] = str(os.getpid())
        try:
            with (folder / "log").open("wb") as log:
                self._process = _spawn(command, self._cwd, environment, log)
        except OSError as error:
            self._end()
            raise KernelUnavailable(
                f"the {self.choice.name} kernel does not start: {error}", hint="see `steerway doctor`"
            ) from error

    def _await_ready(self) -> bool:
        channels = self._channels
        assert channels is not None
        deadline = time.monotonic() + _START_S
        while not channels.handshake(_POLL_S):
            if self._interrupts:
                return False
            if not self.alive or time.monotonic() > deadline:
                reason = self._last_words()
                self._end()
                raise KernelUnavailable(
                    f"the {self.choice.name} kernel does not start{reason}", hint="see `steerway doctor`"
                )
        return True

    def _last_words(self) -> str:
        if self._folder is None:
            return ""
        log = (Path(self._folder.name) / "log").read_text("utf-8", "replace").strip().splitlines()
        return f": {log[-1][:200]}" if log else ""

    def run(
        self,
        text: str,
        *,
        variables: Mapping[str, str] | None = None,
        exports: Mapping[str, str] | None = None,
        timeout: float | None = None,
        on_bytes: OnBytes,
        on_picture: OnPicture | None = None,
    ) -> Ending:
        """Run `text` and wait. `variables` become names of the program (python), `exports` its environment.

        A name's value is the Python literal it looks like (`3`, `True`), else the string.
        """
        try:
            if not self.start():
                return Ending(130, interrupted=True)
            with self._turning:
                return self._run(
                    text, _preamble(variables or {}, exports or {}), timeout, on_bytes, on_picture
                )
        finally:
            self._interrupts = 0

    def _run(
        self,
        text: str,
        preamble: str,
        timeout: float | None,
        on_bytes: OnBytes,
        on_picture: OnPicture | None,
    ) -> Ending:
        if self.choice.language == "python":
            self._execute(preamble, None, lambda data: None, None, silent=True)
        return self._execute(text, timeout, on_bytes, on_picture)

    def _execute(
        self,
        text: str,
        timeout: float | None,
        on_bytes: OnBytes,
        on_picture: OnPicture | None,
        *,
        silent: bool = False,
    ) -> Ending:
        channels = self._channels
        if channels is None:
            return Ending(None, died=True)
        turn = _Turn(self, channels, timeout, on_bytes, on_picture)
        channels.execute(text, silent=silent, stdin=self._on_input is not None)
        try:
            return turn.follow()
        except BaseException:
            self.close()
            raise

    def answer(self, prompt: str, secret: bool) -> str:
        """The line for a program that asks."""
        return self._on_input(prompt, secret) if self._on_input else ""

    def interrupt(self) -> None:
        """Interrupt the running cell."""
        self._interrupts += 1
        if self._channels:
            self._channels.wake()

    @property
    def interrupts(self) -> int:
        """How often the running cell was asked to end."""
        return self._interrupts

    def send_interrupt(self) -> None:
        """SIGINT to the kernel's process group, or the protocol's message where the kernel wants that."""
        if self.choice.interrupt_mode == "message" and self._channels:
            self._channels.request_interrupt()
        elif self._process:
            signal_group(self._process.pid, signal.SIGINT)

    def notice(self, ending: Ending) -> str:
        """One line for a person about an ending that took the kernel with it, else ""."""
        if not ending.died:
            return ""
        return (
            f"the {self.choice.name} kernel died: its variables are lost, the next cell gets a new one"
            if not ending.timed_out
            else f"the {self.choice.name} kernel did not stop and was ended: its variables are lost"
        )

    def close(self) -> None:
        """End the kernel and what it started. Idempotent; a cell that runs ends as `died`."""
        if self._process:
            end_session(self._process)
        with self._starting, self._turning:
            self._end()

    def _end(self) -> None:
        if self._process:
            end_session(self._process, grace_s=0.3)
            self._process = None
        if self._channels:
            self._channels.close()
            self._channels = None
        if self._folder:
            self._folder.cleanup()
            self._folder = None


class _Turn:
    """One execution: its messages until it is over."""

    def __init__(
        self,
        kernel: Kernel,
        channels: Channels,
        timeout: float | None,
        on_bytes: OnBytes,
        on_picture: OnPicture | None,
    ) -> None:
        self._kernel, self._channels = kernel, channels
        self._on_bytes, self._on_picture = on_bytes, on_picture
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._since: float | None = None
        self._rung = 0
        self._timed_out = False
        self._status: str | None = None
        self._replied_at: float | None = None
        self._idle = False

    def follow(self) -> Ending:
        while not self._over():
            messages = self._channels.receive(self._wait_s())
            for channel, message in messages:
                self._handle(channel, message["msg_type"], message["content"])
            if not messages:
                self._on_bytes(b"")
                if not self._kernel.alive:
                    return self._ending(None, died=True)
            if self._advance():
                self._kernel.close()
                return self._ending(None, died=True)
        return self._ending({"ok": 0, "aborted": 130}.get(self._status or "", 1))

    def _over(self) -> bool:
        if self._replied_at is None:
            return False
        return self._idle or time.monotonic() - self._replied_at > _SETTLE_S

    def _wait_s(self) -> float:
        if self._deadline is None or self._since is not None:
            return _POLL_S
        return max(0.0, min(_POLL_S, self._deadline - time.monotonic()))

    def _handle(self, channel: str, kind: str, content: dict[str, Any]) -> None:
        if kind == "stream":
            self._on_bytes(content["text"].encode("utf-8", "replace"))
        elif kind in ("execute_result", "display_data"):
            self._on_bytes(as_text(content["data"], on_picture=self._on_picture).encode("utf-8", "replace"))
        elif kind == "error":
            self._on_bytes(_error_text(content).encode("utf-8", "replace"))
        elif kind == "clear_output":
            self._on_bytes(b"\r\x1b[2K")
        elif kind == "status":
            self._idle = content["execution_state"] == "idle"
        elif kind == "execute_reply":
            self._status, self._replied_at = content["status"], time.monotonic()
        elif kind == "input_request":
            self._channels.reply_input(self._kernel.answer(content["prompt"], content["password"]))

    def _advance(self) -> bool:
        now = time.monotonic()
        if self._since is None:
            self._timed_out = self._deadline is not None and now >= self._deadline
            if not (self._timed_out or self._kernel.interrupts):
                return False
            self._since = now
        while self._rung < len(_LADDER) and now - self._since >= _LADDER[self._rung][0]:
            self._rung += 1
            if _LADDER[self._rung - 1][1] == "kill":
                return True
            self._kernel.send_interrupt()
        return False

    def _ending(self, status: int | None, *, died: bool = False) -> Ending:
        stopped = self._since is not None
        code = 130 if stopped and status else status
        return Ending(code, self._timed_out, stopped and not self._timed_out, died)


def _error_text(content: dict[str, Any]) -> str:
    if content["ename"] == "StdinNotImplementedError":
        return "this cell asks for input and nobody is here to answer: run it in `steerway shell`\n"
    return "\n".join(content["traceback"]) + "\n"


def _spawn(
    command: list[str], cwd: Path, environment: dict[str, str], log: IO[bytes]
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )


def _preamble(variables: Mapping[str, str], exports: Mapping[str, str]) -> str:
    values = {name: literal(value) for name, value in variables.items()}
    return f"globals().update({values!r}); __import__('os').environ.update({dict(exports)!r})"


def literal(value: str) -> object:
    """The Python literal that `value` looks like, else `value` itself."""
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return value
