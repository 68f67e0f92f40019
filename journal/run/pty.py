"""A process on a pseudo-terminal of its own: spawn, read in bursts, write, resize, always drained."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import termios
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from journal.run.processes import end_session, foreground

BURST_BYTES = 1 << 16
_READ_BYTES = 1 << 16
_SETTLE_S = 0.004


class Pty:
    """A session leader whose controlling terminal we hold the other end of.

    The terminal is set up by a small `sh` that then becomes the program: nothing of ours runs between
    fork and exec, which is what makes it safe in a process with threads (pty.fork is not).
    """

    def __init__(
        self, command: list[str], *, cwd: Path, environment: Mapping[str, str], size: tuple[int, int]
    ) -> None:
        self.fd, device = os.openpty()
        try:
            self.tty = os.ttyname(device)
            termios.tcsetwinsize(self.fd, size)
            self.echo(False)
            self.process = subprocess.Popen(
                ["/bin/sh", "-c", 't=$1; shift; exec "$@" <>"$t" >&0 2>&1', "sh", self.tty, *command],
                cwd=cwd,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            self._wait_opened()
        except BaseException:
            os.close(self.fd)
            raise
        finally:
            os.close(device)
        os.set_blocking(self.fd, False)
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_write, False)
        self._reading = threading.Lock()
        self._idle = threading.Event()
        self._closed = False
        self._drainer = threading.Thread(target=self._drain, name="steerway-pty-drain", daemon=True)
        self._drainer.start()

    def _wait_opened(self) -> None:
        # Our copy of the device keeps the terminal alive until the child has opened its own.
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline and self.process.poll() is None:
            if foreground(self.fd):
                return
            time.sleep(0.001)

    def echo(self, on: bool) -> None:
        """Whether the terminal shows what is written to it."""
        mode = termios.tcgetattr(self.fd)
        mode[3] = mode[3] | termios.ECHO if on else mode[3] & ~termios.ECHO
        termios.tcsetattr(self.fd, termios.TCSANOW, mode)

    def resize(self, rows: int, columns: int) -> None:
        """Tell the terminal's size; programs in it get SIGWINCH."""
        termios.tcsetwinsize(self.fd, (rows, columns))

    def forget_input(self) -> None:
        """Throw away what was typed and not read: half a line of it would garble the next command."""
        device = os.open(self.tty, os.O_RDWR | os.O_NOCTTY)
        try:
            termios.tcflush(device, termios.TCIFLUSH)
        finally:
            os.close(device)

    def write(self, data: bytes) -> None:
        """Type `data`; waits while the terminal's input is full, at most 2 s."""
        deadline = time.monotonic() + 2
        while data and time.monotonic() < deadline:
            _, writable, _ = select.select([], [self.fd], [], 0.1)
            try:
                data = data[os.write(self.fd, data) :] if writable else data
            except BlockingIOError:
                pass
            except OSError:
                return

    def wake(self) -> None:
        """End a wait in `read` at once, from any thread."""
        try:
            os.write(self._wake_write, b".")
        except (BlockingIOError, OSError):
            pass

    def read(self, timeout_s: float) -> bytes | None:
        """What has come, in a burst; b"" after `timeout_s` or `wake`, None when all writers are gone."""
        ready, _, _ = select.select([self.fd, self._wake_read], [], [], max(0.0, timeout_s))
        if self._wake_read in ready:
            os.read(self._wake_read, 4096)
        return self._burst() if self.fd in ready else b""

    def _burst(self) -> bytes | None:
        parts: list[bytes] = []
        size = 0
        deadline = time.monotonic() + 0.02
        while size < BURST_BYTES and time.monotonic() < deadline:
            try:
                part = os.read(self.fd, _READ_BYTES)
            except BlockingIOError:
                # A flood is read in large pieces: give its writer a moment before this one is handed on.
                if size and not select.select([self.fd], [], [], _SETTLE_S if size > 4096 else 0)[0]:
                    break
                if not size:
                    break
                continue
            except OSError:
                part = b""
            if not part:
                return b"".join(parts) or None
            parts.append(part)
            size += len(part)
        return b"".join(parts)

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Read here for a while; outside of this the drain thread throws away what comes."""
        self._idle.clear()
        self.wake()
        with self._reading:
            yield
        self._idle.set()

    def _drain(self) -> None:
        while not self._closed:
            self._idle.wait(1.0)
            while self._idle.is_set() and not self._closed:
                with self._reading:
                    if self._idle.is_set() and self.read(1.0) is None:
                        self._idle.clear()

    def end(self) -> None:
        """End the process and everything in its session; whoever reads sees the end."""
        if not self._closed:
            end_session(self.process)

    def close(self) -> None:
        """End everything and give the terminal back. Idempotent."""
        if self._closed:
            return
        self.end()
        self._closed = True
        self._idle.set()
        self.wake()
        self._drainer.join(5)
        with self._reading:
            for descriptor in (self.fd, self._wake_read, self._wake_write):
                os.close(descriptor)
