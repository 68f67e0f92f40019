"""llama-server as the head-to-heads ask it: started on a loopback port, `/infill` streamed, slots saved.

Same GGUF, threads and context as ours, one slot, `--cache-reuse 256`, greedy, documents as `input_extra`. Its
OpenMP threads spin as briefly as ours (engine/runtime/library.py), so that a busy machine hurts both alike.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from engine.documents import Document
from engine.runtime.library import SPIN_COUNT
from tests.bench import peer_build

CACHE_REUSE_TOKENS = 256
_START_S = 120
_ANSWER_S = 300


@dataclass(frozen=True)
class Answer:
    """One streamed answer.

    Milliseconds: `first_token_ms` as seen here, `prompt_ms` by the server's own clock. Tokens of the prompt:
    `computed` were run through the model, `reused` were in its cache.
    """

    text: str
    first_token_ms: float
    prompt_ms: float
    computed: int
    reused: int

    @property
    def prompt_tokens(self) -> int:
        """Tokens of the whole prompt."""
        return self.computed + self.reused


class Server:
    """A running llama-server. Closed by `close` or the end of a `with` block."""

    def __init__(
        self,
        model: Path,
        *,
        context_tokens: int,
        threads: int,
        batch_tokens: int = 2048,
        slots: Path | None = None,
    ) -> None:
        port = _free_port()
        command = [str(peer_build.program()), "-m", str(model), "--host", "127.0.0.1", "--port", str(port)]
        command += [
            "-c",
            str(context_tokens),
            "-b",
            str(batch_tokens),
            "-t",
            str(threads),
            "-tb",
            str(threads),
        ]
        command += ["-np", "1", "--cache-reuse", str(CACHE_REUSE_TOKENS), "--no-webui", "--offline"]
        command += ["--slot-save-path", str(slots)] if slots else []
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        started = time.perf_counter()
        environment = {"GOMP_SPINCOUNT": SPIN_COUNT} | os.environ
        self._process = subprocess.Popen(command, stdout=self._log, stderr=self._log, env=environment)
        address = f"http://127.0.0.1:{port}"
        # A connection for each request: the server closes idle ones whenever it likes.
        once = httpx.Limits(max_keepalive_connections=0)
        self._http = httpx.Client(base_url=address, timeout=_ANSWER_S, trust_env=False, limits=once)
        self._wait()
        self.start_ms = (time.perf_counter() - started) * 1000

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def infill(
        self, prefix: str, suffix: str, documents: Sequence[Document] = (), *, max_tokens: int = 8
    ) -> Answer:
        """Ask as the editor plug-ins do: repository layout, FIM with the suffix."""
        extra = [{"filename": one.name, "text": one.text} for one in documents]
        body = {"input_prefix": prefix, "input_suffix": suffix, "input_extra": extra}
        return self._ask("/infill", body, max_tokens)

    def complete(self, prompt: str, *, max_tokens: int = 8) -> Answer:
        """Ask for what follows `prompt`, special tokens read as such: the door with a prompt cache in RAM."""
        return self._ask("/completion", {"prompt": prompt}, max_tokens)

    def save(self, name: str) -> None:
        """Write the slot's KV to `slots / name`."""
        self._http.post("/slots/0?action=save", json={"filename": name}).raise_for_status()

    def restore(self, name: str) -> float:
        """Read it back; milliseconds."""
        started = time.perf_counter()
        self._http.post("/slots/0?action=restore", json={"filename": name}).raise_for_status()
        return (time.perf_counter() - started) * 1000

    def rss_mb(self) -> float:
        """Resident memory of the process."""
        return psutil.Process(self._process.pid).memory_info().rss / 1e6

    def close(self) -> None:
        """End it. Idempotent."""
        self._http.close()
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def _ask(self, path: str, body: dict[str, Any], max_tokens: int) -> Answer:
        body = body | {
            "n_predict": max_tokens,
            "temperature": 0.0,
            "top_k": 1,
            "samplers": ["top_k"],
            "cache_prompt": True,
            "stream": True,
        }
        text, first_ms, last = "", 0.0, {}
        started = time.perf_counter()
        with self._http.stream("POST", path, json=body) as response:
            if response.status_code != 200:
                raise SystemExit(f"llama-server: {response.read().decode()[:300]}")
            for last in _events(response):
                first_ms = first_ms or (time.perf_counter() - started) * 1000
                text += last.get("content", "")
        timings = last["timings"]
        return Answer(text, first_ms, timings["prompt_ms"], timings["prompt_n"], timings["cache_n"])

    def _wait(self) -> None:
        ends = time.monotonic() + _START_S
        while time.monotonic() < ends and self._process.poll() is None:
            try:
                if self._http.get("/health").status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.01)
        self._log.seek(0)
        tail = self._log.read().decode(errors="replace").strip().splitlines()[-8:]
        self.close()
        raise SystemExit("\n".join((*tail, "llama-server did not start")))


def repository_prompt(prefix: str, documents: Sequence[Document], path: str, repository: str) -> str:
    """The documents and the file's beginning in the order both engines use, without a suffix."""
    files = "".join(f"<|file_sep|>{one.name}\n{one.text}" for one in documents)
    return f"<|repo_name|>{repository}\n{files}<|file_sep|>{path}\n{prefix}"


def fim_prompt(prefix: str, suffix: str, documents: Sequence[Document], path: str, repository: str) -> str:
    """The same with a hole: what `/infill` makes, for `Server.complete`."""
    before = repository_prompt("", documents, path, repository)
    return f"{before}<|fim_prefix|>{prefix}<|fim_suffix|>{suffix}<|fim_middle|>"


def _events(response: httpx.Response) -> Iterator[dict[str, Any]]:
    """The JSON objects of a stream of server-sent events."""
    for line in response.iter_lines():
        if line.startswith("data: ") and line != "data: [DONE]":
            yield json.loads(line[6:])


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
