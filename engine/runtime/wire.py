"""HTTP on an event loop of its own, so that a connection can be closed while it waits for the server."""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import threading
from concurrent.futures import CancelledError, Future
from typing import Any, Protocol
from urllib.parse import urlsplit

import httpx

from engine.errors import RemoteFailed, UsageError
from engine.runtime import completions
from engine.runtime.completions import Chunk

KEY_VARIABLE = "STEERWAY_REMOTE_KEY"
_POLL_S = 0.01


class Reader(Protocol):
    """Whoever takes the chunks of an answer, on the caller's thread."""

    def over(self) -> bool:
        """Whether waiting must end now."""
        ...

    def take(self, chunk: Chunk) -> bool:
        """Add a chunk; True when no more is wanted."""
        ...

    def end(self) -> bool:
        """The server has said all it will."""
        ...


class Wire:
    """A client of one server. The key is read here, from the environment, and goes nowhere else.

    Proxy settings of the environment hold, but not for this machine itself.
    """

    def __init__(self, base: str, timeout: httpx.Timeout) -> None:
        self._base = base
        key = _key()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="steerway-remote", daemon=True)
        self._thread.start()
        self._client = httpx.AsyncClient(
            timeout=timeout,
            headers={"Authorization": f"Bearer {key}"} if key else {},
            trust_env=not _loopback(base),
        )

    def first_model(self) -> dict[str, Any]:
        """The first model listed. Raises RemoteFailed when there is none."""
        found = asyncio.run_coroutine_threadsafe(completions.models(self._client, self._base), self._loop)
        listed = found.result()
        if not listed:
            raise RemoteFailed(
                f"{completions.shown(self._base)} lists no model", hint="name one: remote:URL#MODEL"
            )
        return listed[0]

    def stream(self, body: dict[str, Any], answer: Reader) -> None:
        """Feed `answer` until it, or the server, has had enough. Raises RemoteFailed."""
        chunks: queue.SimpleQueue[Chunk] = queue.SimpleQueue()
        done = asyncio.run_coroutine_threadsafe(self._read(body, chunks), self._loop)
        try:
            _drain(chunks, done, answer)
        finally:
            done.cancel()
            with contextlib.suppress(CancelledError, Exception):
                done.result(timeout=0)

    def close(self) -> None:
        """Close the client and end the thread."""
        with contextlib.suppress(Exception):
            asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(timeout=5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        await asyncio.gather(*others, return_exceptions=True)
        await self._client.aclose()
        await asyncio.get_running_loop().shutdown_asyncgens()

    async def _read(self, body: dict[str, Any], chunks: queue.SimpleQueue[Chunk]) -> None:
        async with contextlib.aclosing(completions.complete(self._client, self._base, body)) as answer:
            async for chunk in answer:
                chunks.put(chunk)


def _key() -> str:
    """The key of the environment, `""` when none. Raises UsageError when it cannot be sent."""
    key = os.environ.get(KEY_VARIABLE, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise UsageError(f"{KEY_VARIABLE} holds characters that no key has", hint="copy the key again")
    return key


def _drain(chunks: queue.SimpleQueue[Chunk], done: Future[None], answer: Reader) -> None:
    """Hand chunks over on the caller's thread, where `on_text` belongs."""
    while not answer.over():
        ended = done.done()
        try:
            chunk = chunks.get(timeout=0 if ended else _POLL_S)
        except queue.Empty:
            if ended:
                done.result()
                answer.end()
                return
            continue
        if answer.take(chunk):
            return


def _loopback(base: str) -> bool:
    return urlsplit(base).hostname in {"localhost", "127.0.0.1", "::1"}
