"""A raw LSP client of our own (framing, requests, nothing clever), and servers: in this process, or real."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from engine import settings as user_settings
from engine.request import Cancel, Plan, Request, Suggestion
from engine.runtime.base import Engine, EngineInfo, OnText
from engine.runtime.fake import FakeEngine
from engine.runtime.worker import EngineThread
from lsp.contexts import Choice, Context
from lsp.server import Parts, SteerwayServer

WAIT_S = 60.0


def pytest_configure(config: pytest.Config) -> None:
    # pygls 2.1 still asks asyncio what Python 3.14 wants asked of inspect.
    config.addinivalue_line("filterwarnings", "ignore:.*iscoroutinefunction:DeprecationWarning")


class LspError(Exception):
    """The error a request was answered with."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(error["message"])
        self.code = error["code"]
        self.message = error["message"]


class Client:
    """What an editor does: sends, receives, answers the server's own requests."""

    def __init__(self, reader: asyncio.StreamReader, writer: Callable[[bytes], None]) -> None:
        self._reader = reader
        self._write = writer
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._number = 0
        self._arrived = asyncio.Condition()
        self.notifications: list[dict[str, Any]] = []
        self.asked: list[dict[str, Any]] = []
        self.configuration: Any = None
        self.capabilities: dict[str, Any] = {}
        self._task = asyncio.ensure_future(self._receive())

    def send(self, message: dict[str, Any]) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        self._write(b"Content-Length: %d\r\n\r\n" % len(body) + body)

    def notify(self, method: str, params: Any = None) -> None:
        self.send({"method": method, "params": params})

    def start(self, method: str, params: Any = None) -> tuple[int, asyncio.Future[Any]]:
        """Send a request; its number and the future of its result."""
        self._number += 1
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[self._number] = future
        self.send({"id": self._number, "method": method, "params": params})
        return self._number, future

    async def request(self, method: str, params: Any = None) -> Any:
        return await asyncio.wait_for(self.start(method, params)[1], WAIT_S)

    def cancel(self, number: int) -> None:
        self.notify("$/cancelRequest", {"id": number})

    async def until(self, found: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first notification (past or coming) that `found` says yes to."""
        async with self._arrived:
            async with asyncio.timeout(WAIT_S):
                while True:
                    for notification in self.notifications:
                        if found(notification):
                            return notification
                    await self._arrived.wait()

    async def logged(self, text: str) -> dict[str, Any]:
        return await self.until(
            lambda each: each["method"] == "window/logMessage" and text in each["params"]["message"]
        )

    async def initialize(
        self, *, inline: bool = True, encodings: list[str] | None = None, options: Any = None, **extra: Any
    ) -> dict[str, Any]:
        """Shake hands as an editor with or without inline completion; then wait for the model."""
        text: dict[str, Any] = {"synchronization": {}, **extra.pop("textDocument", {})}
        if inline:
            text["inlineCompletion"] = {}
        capabilities: dict[str, Any] = {"textDocument": text, **extra}
        if encodings is not None:
            capabilities["general"] = {"positionEncodings": encodings}
        result = await self.request(
            "initialize",
            {
                "processId": None,
                "rootUri": None,
                "capabilities": capabilities,
                "initializationOptions": options,
            },
        )
        self.capabilities = result["capabilities"]
        self.notify("initialized", {})
        return self.capabilities

    async def ready(self) -> None:
        await self.logged("is ready")

    def open(self, uri: str, text: str, *, language: str = "python", version: int = 1) -> None:
        item = {"uri": uri, "languageId": language, "version": version, "text": text}
        self.notify("textDocument/didOpen", {"textDocument": item})

    def change(self, uri: str, version: int, *changes: dict[str, Any]) -> None:
        document = {"uri": uri, "version": version}
        self.notify("textDocument/didChange", {"textDocument": document, "contentChanges": list(changes)})

    @staticmethod
    def inline_params(uri: str, line: int, character: int, *, kind: int = 2, selected: Any = None) -> Any:
        context: dict[str, Any] = {"triggerKind": kind}
        if selected is not None:
            context["selectedCompletionInfo"] = selected
        position = {"line": line, "character": character}
        return {"textDocument": {"uri": uri}, "position": position, "context": context}

    async def inline(self, uri: str, line: int, character: int, **options: Any) -> list[dict[str, Any]]:
        params = self.inline_params(uri, line, character, **options)
        result = await self.request("textDocument/inlineCompletion", params)
        return list(result["items"])

    async def command(self, name: str, *arguments: Any) -> Any:
        return await self.request("workspace/executeCommand", {"command": name, "arguments": list(arguments)})

    async def status(self) -> Any:
        return await self.command("steerway.status")

    async def status_when(self, holds: Callable[[Any], bool]) -> Any:
        """The status, asked for until something holds of it."""
        async with asyncio.timeout(WAIT_S):
            while not holds(status := await self.status()):
                await asyncio.sleep(0.02)
        return status

    async def leave(self) -> None:
        """Shut down as the specification says."""
        await self.request("shutdown")
        self.notify("exit")

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _receive(self) -> None:
        while header := await self._reader.readuntil(b"\r\n\r\n"):
            fields = dict(line.split(b": ") for line in header.strip().split(b"\r\n"))
            message = json.loads(await self._reader.readexactly(int(fields[b"Content-Length"])))
            if "method" in message and "id" in message:
                self._answer(message)
            elif "method" in message:
                async with self._arrived:
                    self.notifications.append(message)
                    self._arrived.notify_all()
            else:
                self._resolve(message)

    def _resolve(self, message: dict[str, Any]) -> None:
        future = self._waiting.pop(message["id"])
        if "error" in message:
            future.set_exception(LspError(message["error"]))
        else:
            future.set_result(message.get("result"))

    def _answer(self, message: dict[str, Any]) -> None:
        self.asked.append(message)
        result = None
        if message["method"] == "workspace/configuration":
            result = [self.configuration for _ in message["params"]["items"]]
        self.send({"id": message["id"], "result": result})


@dataclass
class Reader:
    """Journals for tests that are not about journals: whatever `context` is now."""

    context: Context = field(default_factory=Context)
    steps: list[str] = field(default_factory=list)
    reads: int = 0

    def root(self, folder: Path) -> Path:
        return folder

    def read(self, root: Path, choice: Choice) -> Context:
        self.reads += 1
        return self.context

    def set_step(self, root: Path, choice: Choice, step: str) -> str:
        self.steps.append(step)
        return step

    def close(self) -> None: ...


class Watcher:
    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback = callback

    def watch(self, paths: object) -> None: ...

    def close(self) -> None: ...


class GatedEngine:
    """Gives one character ("token") for each permit, so that a test decides when a token is made."""

    def __init__(self, text: str = "abcdefghijklmnopqrstuvwxyz") -> None:
        self.text = text
        self.permits = threading.Semaphore(0)
        self.tokens = 0
        self.requests: list[Request] = []
        self.suggestions: list[Suggestion] = []
        self.moved = threading.Condition()
        self.info = EngineInfo("gated", "gated", "none", 4096)

    def suggest(
        self, request: Request, *, on_text: OnText | None = None, cancel: Cancel | None = None
    ) -> Suggestion:
        self._note(lambda: self.requests.append(request))
        done, cancelled = 0, False
        while done < len(self.text) and not cancelled:
            self.permits.acquire()
            cancelled = cancel is not None and cancel.is_set()
            if not cancelled:
                done += 1
                self._note(self._count)
        suggestion = Suggestion(self.text[:done], "cancelled" if cancelled else "eos", tokens_generated=done)
        self._note(lambda: self.suggestions.append(suggestion))
        return suggestion

    def plan(self, request: Request) -> Plan:
        return Plan((), 0, 0, 0, "none")

    def count(self, text: str) -> int:
        return len(text)

    def close(self) -> None: ...

    def allow(self, tokens: int) -> None:
        self.permits.release(tokens)

    async def until(self, what: Callable[[], bool]) -> None:
        """Wait until something holds of the counts."""

        def wait() -> bool:
            with self.moved:
                return self.moved.wait_for(what, WAIT_S)

        assert await asyncio.to_thread(wait)

    def _count(self) -> None:
        self.tokens += 1

    def _note(self, change: Callable[[], None]) -> None:
        with self.moved:
            change()
            self.moved.notify_all()


Served = Callable[..., Any]
Spawned = tuple[Client, asyncio.subprocess.Process]


@asynccontextmanager
async def in_process(state: Path, engine: Callable[[], Engine], **parts: Any) -> AsyncIterator[Client]:
    """A client of a server that runs on a thread of this process, over pipes as in real life."""
    defaults: dict[str, Any] = {
        "reader": Reader(),
        "watcher": Watcher,
        "user": user_settings.Settings(),
        "state": state,
    }
    server = SteerwayServer(Parts(engine=EngineThread(engine), **{**defaults, **parts}))
    to_server, from_server = os.pipe(), os.pipe()
    stdin, stdout = os.fdopen(to_server[0], "rb"), os.fdopen(from_server[1], "wb")
    thread = threading.Thread(target=server.start_io, args=(stdin, stdout))
    thread.start()
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(from_server[0], "rb")
    )
    client = Client(reader, lambda data: os.write(to_server[1], data) and None)
    client.server = server  # type: ignore[attr-defined]
    try:
        yield client
    finally:
        os.close(to_server[1])
        await asyncio.to_thread(thread.join, WAIT_S)
        assert not thread.is_alive()
        server.close()
        await client.stop()
        transport.close()
        stdin.close()
        if not stdout.closed:
            stdout.close()


@pytest.fixture
def serve(isolated_home: Path) -> Served:
    """`async with serve() as client`: the server in this process; `engine=` and other parts may be given."""

    def start(engine: Callable[[], Engine] = FakeEngine, **parts: Any) -> Any:
        return in_process(isolated_home / "state", engine, **parts)

    return start


@asynccontextmanager
async def subprocess_client(
    *arguments: str, cwd: Path, before: str = ""
) -> AsyncIterator[tuple[Client, asyncio.subprocess.Process]]:
    process = await asyncio.create_subprocess_exec(
        *server_command(*arguments, before=before),
        cwd=cwd,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    client = Client(process.stdout, process.stdin.write)
    try:
        yield client, process
    finally:
        if process.returncode is None:
            process.stdin.close()
            try:
                await asyncio.wait_for(process.wait(), WAIT_S)
            except TimeoutError:
                process.kill()
                raise
        await client.stop()


@pytest.fixture
def spawn(isolated_home: Path, tmp_path: Path) -> Served:
    """`async with spawn("--model", "fake") as (client, process)`: the real command on its real streams."""

    def start(*arguments: str, cwd: Path = tmp_path, before: str = "") -> Any:
        return subprocess_client(*arguments, cwd=cwd, before=before)

    return start


def server_command(*arguments: str, before: str = "") -> list[str]:
    """The command line; `before` is a statement that its process begins with."""
    return [sys.executable, "-c", f"{before}\nfrom journal.cli import main; main()", "lsp", *arguments]


@pytest.fixture
def lsp_command() -> Callable[..., list[str]]:
    """The command line of `steerway lsp`, in this interpreter."""
    return server_command


@pytest.fixture
def gated() -> GatedEngine:
    """An engine that waits for the test before each token."""
    return GatedEngine()


@pytest.fixture
def reader() -> Reader:
    """A context the test can set."""
    return Reader()
