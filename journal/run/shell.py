"""The journal's shell: one persistent process on a terminal, cells run in it one after the other."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from journal.errors import ShellUnavailable
from journal.run.dialects import DIALECTS, Dialect
from journal.run.processes import foreground, signal_group, signal_process
from journal.run.pty import Pty

OnBytes = Callable[[bytes], None]

# What follows an interrupt that a program does not obey: seconds since the first, signal.
_LADDER: tuple[tuple[float, signal.Signals], ...] = (
    (0.0, signal.SIGINT),
    (2.0, signal.SIGTERM),
    (4.0, signal.SIGKILL),
)
_GIVE_UP_S = 5.0
_START_S = 15.0
_POLL_S = 0.1
_NOUNSET = re.compile(r"\bset\s+-[a-z]*u|\bnounset\b")


@dataclass(frozen=True)
class Ending:
    """How a command ended: its status (None: it was ended with its shell), and why."""

    exit: int | None
    timed_out: bool = False
    interrupted: bool = False
    died: bool = False


class Shell:
    """A persistent shell. `run` blocks; `interrupt`, `write` and `resize` may come from any thread.

    `stdin` is what programs read: "eof" ends it at once (nobody is there to type), "terminal" is the
    terminal, fed by `write`. Raises ShellUnavailable when the shell is not there or does not start.
    """

    def __init__(
        self,
        dialect: str,
        *,
        cwd: Path,
        environment: Mapping[str, str] | None = None,
        size: tuple[int, int] = (24, 100),
        stdin: str = "eof",
    ) -> None:
        self.dialect: Dialect = DIALECTS[dialect]
        self._cwd = cwd
        self._environment = dict(os.environ if environment is None else environment)
        self._size = size
        self._stdin = stdin
        self._pty: Pty | None = None
        self._interrupts = 0
        self._changing = threading.RLock()
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._secret = secrets.token_hex(6)
        self._count = 0

    @property
    def alive(self) -> bool:
        """Whether the process is there."""
        return self._pty is not None and self._pty.process.poll() is None

    @property
    def pid(self) -> int | None:
        """The shell's process id."""
        return self._pty.process.pid if self._pty else None

    def start(self) -> None:
        """Start now what `run` would start; nothing when it runs already."""
        self._started()

    def _started(self) -> Pty:
        with self._changing:
            if self._pty is not None and self.alive:
                return self._pty
            self.close()
            program = shutil.which(self.dialect.name, path=self._environment.get("PATH"))
            if program is None:
                raise ShellUnavailable(
                    f"{self.dialect.name} is not on this machine", hint="install it, or use `sh`"
                )
            self._folder = tempfile.TemporaryDirectory(prefix="steerway-")
            folder = Path(self._folder.name)
            rc = folder / self.dialect.rc_name
            rc.touch(0o600)
            self._pty = self._spawn(program, folder, rc)
            self._await_prompt(self._pty)
            return self._pty

    def _spawn(self, program: str, folder: Path, rc: Path) -> Pty:
        command = self.dialect.command(program, folder)
        environment = {**self._environment, **self.dialect.environment(folder)}
        environment.setdefault("TERM", "xterm-256color")
        if environment["TERM"] in ("dumb", "unknown"):
            environment["TERM"] = "xterm-256color"
        for name in ("COLUMNS", "LINES", "BASH_ENV", "PROMPT_COMMAND"):
            environment.pop(name, None)
        rc.write_text(self.dialect.start_up(), encoding="utf-8")
        return Pty(command, cwd=self._cwd, environment=environment, size=self._size)

    def _await_prompt(self, terminal: Pty) -> None:
        seen, deadline = b"", time.monotonic() + _START_S
        with terminal.reading():
            while b"\x1b]133;D;" not in seen:
                data = terminal.read(_POLL_S)
                if data is None or terminal.process.poll() is not None or time.monotonic() > deadline:
                    raise ShellUnavailable(
                        f"{self.dialect.name} did not start", hint="run it by hand to see why"
                    )
                seen = (seen + data)[-4096:]

    @property
    def _terminal(self) -> Pty:
        if self._pty is None:
            raise ShellUnavailable("the shell is closed", hint="start it again")
        return self._pty

    def run(
        self,
        text: str,
        *,
        name: str = "cell",
        exports: Mapping[str, str] | None = None,
        timeout: float | None = None,
        on_bytes: OnBytes,
    ) -> Ending:
        """Run `text` as a file of this shell's own language and wait for its end.

        `exports` go into the environment first. `on_bytes` gets the output as it comes, on this thread.
        After `timeout` seconds the command is interrupted, and in the end killed.
        """
        terminal = self._started()
        self._count += 1
        run = f"{self._secret}{self._count}"
        outer = self._write_files(text, name, dict(exports or {}))
        try:
            with terminal.reading():
                terminal.echo(self._stdin == "terminal")
                if self._stdin == "terminal":
                    terminal.forget_input()
                terminal.write(self.dialect.line(outer, run).encode())
                ending = self._follow(terminal, run, timeout, on_bytes)
                if not ending.died:
                    terminal.echo(False)
        except BaseException:
            # Whoever listened is gone; nobody would ever read what the command still prints.
            self.close()
            raise
        finally:
            self._interrupts = 0
        if ending.died:
            self.close()
        return ending

    def _write_files(self, text: str, name: str, exports: dict[str, str]) -> Path:
        folder = Path(self._folder.name) if self._folder else Path()
        body = text.replace("\r\n", "\n")
        if not body.endswith("\n"):
            body += "\n"
        if self.dialect.name == "bash" and _NOUNSET.search(body):
            # An interactive bash goes on after an unbound variable; as one compound command it does not.
            body = "{ " + body + "}\n"
        safe = re.sub(r"[^\w.-]", "_", name)[:60] or "cell"
        cell, outer = folder / f"cell-{safe}", folder / "outer"
        cell.write_text(body, encoding="utf-8", errors="surrogateescape")
        stdin = "/dev/null" if self._stdin == "eof" else self._terminal.tty
        source = self.dialect.source(cell, tty=self._terminal.tty, stdin=stdin)
        outer.write_text(self.dialect.exports(exports) + source, encoding="utf-8", errors="surrogateescape")
        return outer

    def _follow(self, terminal: Pty, run: str, timeout: float | None, on_bytes: OnBytes) -> Ending:
        marks = _Marks(run)
        watch = _Watch(self, timeout)
        while True:
            data = terminal.read(watch.wait_s())
            if data is not None:
                body = marks.feed(data)
                if body or not data:
                    on_bytes(body)
                if marks.status is not None:
                    return watch.ending(marks.status)
            if data is None or (not data and terminal.process.poll() is not None):
                return _died(terminal, marks, watch, on_bytes)
            if watch.advance(marks.begun):
                terminal.process.kill()
                return watch.ending(None, died=True)

    def interrupt(self) -> None:
        """Ask the running command to end; asked again, what it does not obey comes at once."""
        self._interrupts += 1
        if self._pty:
            self._pty.wake()

    def send_signal(self, number: signal.Signals) -> None:
        """To the foreground program, and SIGINT also to the shell itself so that it leaves the cell."""
        terminal = self._terminal
        group = foreground(terminal.fd)
        if number == signal.SIGINT:
            signal_process(terminal.process.pid, number)
        elif group == terminal.process.pid:
            return
        signal_group(group, number)

    @property
    def interrupts(self) -> int:
        """How often the running command was asked to end."""
        return self._interrupts

    def write(self, data: bytes) -> None:
        """Type `data` to the running program."""
        if self._pty:
            self._pty.write(data)

    def resize(self, rows: int, columns: int) -> None:
        """The terminal's new size."""
        self._size = (rows, columns)
        if self._pty and self.alive:
            self._pty.resize(rows, columns)

    def close(self) -> None:
        """End the shell and every process of its session. Idempotent; a cell that runs ends as `died`."""
        if self._pty:
            self._pty.end()
        with self._changing:
            if self._pty:
                self._pty.close()
                self._pty = None
            if self._folder:
                self._folder.cleanup()
                self._folder = None


def _died(terminal: Pty, marks: _Marks, watch: _Watch, on_bytes: OnBytes) -> Ending:
    code = terminal.process.wait()
    while data := terminal.read(0):
        body = marks.feed(data)
        if body:
            on_bytes(body)
    if marks.status is not None:
        return watch.ending(marks.status)
    return watch.ending(code if code >= 0 else 128 - code, died=True)


class _Marks:
    """Finds the output of one run between its begin mark and its end mark."""

    def __init__(self, run: str) -> None:
        self._begin = f"\x1b]133;C;steerway={run}\x07".encode()
        self._end = re.compile(b"\x1b\\]133;D;(\\d*);steerway=" + run.encode() + b"\x07")
        self._stop = f"\x1b]133;E;steerway={run}\x07".encode()
        self._stopped = False
        self._held = b""
        self.begun = False
        self.status: int | None = None

    def feed(self, data: bytes) -> bytes:
        data = self._held + data
        self._held = b""
        if not self.begun:
            before, mark, data = data.partition(self._begin)
            if not mark:
                self._held = before[-len(self._begin) :]
                return b""
            self.begun = True
        end = self._end.search(data) if b"\x1b]133;D;" in data else None
        if end:
            self.status = int(end[1] or 0)
            return self._until_stop(data[: end.start()])
        return self._until_stop(self._hold(data))

    def _until_stop(self, data: bytes) -> bytes:
        if self._stopped:
            return b""
        body, stop, _ = data.partition(self._stop)
        self._stopped = bool(stop)
        return body

    def _hold(self, data: bytes) -> bytes:
        start = data.rfind(b"\x1b", max(0, len(data) - 64))
        if start >= 0 and b"\x07" not in data[start:]:
            self._held, data = data[start:], data[:start]
        return data


class _Watch:
    """Time and interrupts of one run: when to send which signal, and when to give up."""

    def __init__(self, shell: Shell, timeout: float | None) -> None:
        self._shell = shell
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._since: float | None = None
        self._rung = 0
        self._asked = 0
        self._timed_out = False

    def wait_s(self) -> float:
        if self._since is not None or self._deadline is None:
            return _POLL_S
        return min(_POLL_S, self._deadline - time.monotonic())

    def advance(self, begun: bool) -> bool:
        """Send what is due; True when the command does not end whatever is sent."""
        now = time.monotonic()
        if self._since is None:
            self._timed_out = self._deadline is not None and now >= self._deadline
            if not (self._timed_out or self._shell.interrupts):
                return False
            self._since = now
        pressed = self._shell.interrupts
        again = self._rung < len(_LADDER) and pressed > max(1, self._asked)
        if begun and (self._due(now) or again):
            self._shell.send_signal(_LADDER[self._rung][1])
            self._rung += 1
        self._asked = pressed
        return now - self._since > _GIVE_UP_S or (self._rung == len(_LADDER) and pressed > len(_LADDER))

    def _due(self, now: float) -> bool:
        return self._rung < len(_LADDER) and now - (self._since or now) >= _LADDER[self._rung][0]

    def ending(self, status: int | None, *, died: bool = False) -> Ending:
        stopped = self._since is not None
        return Ending(status, self._timed_out, stopped and not self._timed_out, died)
