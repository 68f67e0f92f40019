"""The engine's own process: one loaded model and one document cache for all front ends of a user.

`python -m engine.runtime.service NAME` reads a `Spec` as JSON on standard input, leaves its parent, writes
one line (`ready`, `taken`, or an error) on standard output once it can be connected to, and serves until it
is stopped, or idle for long enough.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import socket
import stat
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO

from engine.errors import EngineUnavailable, SteerwayError
from engine.open import open_engine
from engine.runtime import framing, messages
from engine.runtime import lock as locks
from engine.runtime.address import Spec, is_ours, runtime_folder
from engine.runtime.base import Engine
from engine.runtime.connection import Connection, read
from engine.runtime.framing import BadFrame
from engine.runtime.worker import EngineThread

_HELLO_S = 10.0
_TICK_S = 5.0
_FAREWELL_S = 2.0
_LOCK_WAIT_S = 30.0
_POLL_S = 0.05
_MAX_LOG_BYTES = 4 * 2**20
_LOGS_KEPT_S = 30 * 24 * 3600.0
_BACKLOG = 128


class Service:
    """Serves the engine of `factory` to every connection of a listening socket."""

    def __init__(self, factory: Callable[[], Engine], *, name: str, model: str, idle_s: float) -> None:
        self.thread = EngineThread(factory)
        self._name = name
        self._model = model
        self._idle_s = idle_s
        self._connections: dict[int, Connection] = {}
        self._served = 0
        self._began = self._last_work = time.monotonic()
        self._ended = asyncio.Event()
        self._told = False

    async def run(self, listening: socket.socket, path: Path) -> None:
        """Serve until stopped or idle; the socket at `path` is gone afterwards."""
        server = await asyncio.start_unix_server(self._serve, sock=listening, limit=2**20, backlog=_BACKLOG)
        own = path.lstat().st_ino
        watch = asyncio.ensure_future(self._watch(path, own))
        await self._ended.wait()
        watch.cancel()
        if _inode(path) == own:
            path.unlink(missing_ok=True)
        server.close()
        await self._say_goodbye()
        await asyncio.to_thread(self.thread.close)

    def welcome(self) -> messages.Welcome:
        """Who answers here."""
        return messages.Welcome(
            messages.PROTOCOL, version("steerway"), os.getpid(), self._model, self.thread.loaded
        )

    async def report(self) -> dict[str, Any]:
        """Where everything stands, as JSON."""
        status = await asyncio.to_thread(self.thread.status)
        now = time.monotonic()
        return {
            "service": {
                "name": self._name,
                "pid": os.getpid(),
                "version": version("steerway"),
                "model": self._model,
                "uptime_s": round(now - self._began, 1),
                "idle_s": round(now - self._last_work, 1),
                "idle_stop_s": self._idle_s,
                "rss_bytes": _rss_bytes(),
                "connections": self._served,
                "clients": [each.report() for each in self._connections.values()],
            },
            **status,
        }

    def worked(self) -> None:
        """Somebody asked for something, or was answered."""
        self._last_work = time.monotonic()

    def stop(self) -> None:
        """End: what is under way fails, the socket goes."""
        self._told = True
        self._ended.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = None
        self._served += 1
        try:
            if not is_ours(writer.get_extra_info("socket")):
                return
            connection = await self._greet(reader, writer)
            if connection is not None:
                await connection.serve(reader)
        except BadFrame as error:
            _write(writer, messages.Refused(str(error)))
        except (EOFError, OSError, TimeoutError):
            pass
        finally:
            if connection is not None:
                self._forget(connection)
            writer.close()

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Connection | None:
        body = await asyncio.wait_for(read(reader, limit=framing.MAX_HELLO_BYTES), _HELLO_S)
        greeting = framing.hello(body)
        if greeting.protocol != messages.PROTOCOL or greeting.service not in ("", self._name):
            reason = f"this is engine {self._name}, version {version('steerway')}"
            _write(writer, messages.Refused(reason))
            return None
        connection = Connection(self._served, greeting, self, writer)
        self._connections[self._served] = connection
        return connection

    def _forget(self, connection: Connection) -> None:
        connection.leave()
        self._connections = {key: each for key, each in self._connections.items() if each is not connection}

    async def _watch(self, path: Path, own: int) -> None:
        """End after long enough without work, or when nobody can come in any more."""
        while True:
            await asyncio.sleep(min(_TICK_S, self._idle_s / 4 or _TICK_S))
            _bound_log()
            if not self.thread.at_rest:
                self.worked()
            idle = self._idle_s and time.monotonic() - self._last_work > self._idle_s
            cut_off = _inode(path) != own and not self._connections
            if idle or cut_off:
                self._ended.set()

    async def _say_goodbye(self) -> None:
        """After a stop clients are told, so that they do not start another one for what is under way."""
        if not self._told:
            return
        for connection in self._connections.values():
            connection.send(messages.Bye())
        writers = [connection.flushed() for connection in self._connections.values()]
        await asyncio.wait_for(asyncio.gather(*writers, return_exceptions=True), _FAREWELL_S)


def main() -> int:
    """The process. Returns its exit code."""
    name, spec = sys.argv[1], Spec.from_json(sys.stdin.buffer.read())
    os.umask(0o077)
    if os.fork():
        # Whoever started this waits for its own child only; the service is nobody's.
        os._exit(0)
    try:
        return _settle(name, spec)
    except SteerwayError as error:
        _say(str(error))
        return 1


def _settle(name: str, spec: Spec) -> int:
    folder = runtime_folder()
    path = folder / f"{name}.sock"
    lock = _locked(folder / f"{name}.lock", path)
    if lock is None:
        _say("taken")
        return 0
    with lock:
        _note(lock, {"pid": os.getpid(), "model": spec.model, "version": version("steerway"), "name": name})
        listening = _listen(path)
        _say("ready")
        _prune_logs(spec.log.parent)
        asyncio.run(_serve(spec, name, listening, path))
    return 0


async def _serve(spec: Spec, name: str, listening: socket.socket, path: Path) -> None:
    service = Service(
        lambda: open_engine(spec.model, settings=spec.settings),
        name=name,
        model=spec.model,
        idle_s=spec.settings.engine_idle_minutes * 60,
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, service.stop)
    await service.run(listening, path)


def _say(line: str) -> None:
    """Tell whoever waits on standard output, if anybody still does, and let go of it."""
    try:
        os.write(1, f"{line}\n".encode())
    except OSError:
        pass
    with Path(os.devnull).open("r+b") as nothing:
        os.dup2(nothing.fileno(), 0)
        os.dup2(nothing.fileno(), 1)


def _locked(path: Path, listening: Path) -> BinaryIO | None:
    """The lock of this service, held; None when another process has it and answers. Raises EngineUnavailable.

    A process that is just ending has taken its socket away: its lock is waited for.
    """
    lock = locks.opened(path)
    end = time.monotonic() + _LOCK_WAIT_S
    while not locks.take(lock):
        if _answers(listening):
            lock.close()
            return None
        if time.monotonic() > end:
            lock.close()
            raise EngineUnavailable(
                "an engine process neither ends nor answers", hint="`steerway engine stop` ends it"
            )
        time.sleep(_POLL_S)
    return lock


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as trial:
        trial.settimeout(_POLL_S)
        try:
            trial.connect(str(path))
        except OSError:
            return False
    return True


def _note(lock: BinaryIO, facts: dict[str, Any]) -> None:
    """For `steerway engine`, should this process not answer."""
    lock.seek(0)
    lock.truncate()
    lock.write(json.dumps(facts).encode())


def _listen(path: Path) -> socket.socket:
    """A listening socket that appears at `path` all at once, over what a dead process left there."""
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(fresh))
    fresh.chmod(0o600)
    listening.listen(_BACKLOG)
    fresh.replace(path)
    return listening


def _write(writer: asyncio.StreamWriter, message: messages.Refused) -> None:
    if not writer.is_closing():
        writer.write(framing.pack(message))


def _inode(path: Path) -> int:
    try:
        return path.lstat().st_ino
    except OSError:
        return 0


def _bound_log() -> None:
    """The log (stderr, opened for appending) begins anew when it grew too long."""
    found = os.fstat(2)
    if stat.S_ISREG(found.st_mode) and found.st_size > _MAX_LOG_BYTES:
        os.ftruncate(2, 0)


def _prune_logs(folder: Path) -> None:
    """Logs of engines that were long ago."""
    for log in folder.glob("*.log"):
        try:
            if time.time() - log.stat().st_mtime > _LOGS_KEPT_S:
                log.unlink()
        except OSError:
            continue


def _rss_bytes() -> int:
    """Memory in use; where the system does not say, the most there ever was."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024
    return pages * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    sys.exit(main())
