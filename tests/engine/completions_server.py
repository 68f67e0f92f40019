"""A small OpenAI-compatible completions server, a process of its own: `python completions_server.py [GGUF]`.

It prints its port, then serves until killed. The first part of the path chooses how it behaves, so that one
process serves every test: `/ok/v1/completions` streams TEXT word by word, `/hang/...` says nothing after the
first word, and so on (MODES). With a GGUF, `/model/v1/completions` runs it, greedy, control tokens
parsed as real servers do. `GET /log` returns what was asked, and how much of each answer was taken.
"""

from __future__ import annotations

import json
import re
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TEXT = "enter(amount_cents=cents, memo=reason)\n    return book\n"
MODES = {
    "ok": "streams TEXT",
    "json": "ignores `stream` and answers in one piece",
    "endless": "streams numbered words until the client goes",
    "hang": "one word, then silence",
    "silent": "accepts the request and never answers",
    "drop": "cuts the connection in the middle of the answer",
    "early": "ends the stream without a reason or [DONE]",
    "malformed": "an event that is not JSON",
    "shapeless": "an event without choices",
    "failing": "an error event in the middle",
    "html": "a web page instead of an answer",
    "key": "wants the key `right-key`",
    "split": "characters of several bytes cut across packets, CRLF lines, comments",
    "marker": "text, then a control token spelled out",
    "busy": "HTTP 503",
    "moved": "HTTP 307",
    "empty": "no text at all",
    "nomodels": "lists no model",
}
_log: list[dict[str, Any]] = []
_lock = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    model: Any = None

    def log_message(self, *_: object) -> None: ...

    def do_GET(self) -> None:
        if self.path == "/log":
            with _lock:
                self._answer(200, _log)
        elif self.path.endswith("/v1/models"):
            mode = self.path.split("/")[1]
            name = "qwen2.5-coder-served" if mode in ("ok", "json") else "house-model"
            entries = [] if mode == "nomodels" else [{"id": name, "object": "model", "max_model_len": 2048}]
            self._answer(200, {"object": "list", "data": entries})
        else:
            self._answer(404, {"error": {"message": "no such page"}})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        mode = self.path.split("/")[1]
        record = {"mode": mode, "body": body, "authorization": self.headers.get("Authorization"), "chunks": 0}
        with _lock:
            _log.append(record)
        try:
            self._serve(mode, body, record)
        except (BrokenPipeError, ConnectionResetError):
            with _lock:
                record["gone"] = True
            self.close_connection = True

    def _serve(self, mode: str, body: dict[str, Any], record: dict[str, Any]) -> None:
        if mode not in MODES and mode != "model":
            self._answer(404, {"error": {"message": f"The model `{body['model']}` does not exist."}})
        elif mode == "key" and self.headers.get("Authorization") != "Bearer right-key":
            self._answer(401, {"error": {"message": "Incorrect API key provided"}})
        elif mode == "busy":
            self._answer(503, {"error": {"message": "Loading model"}})
        elif mode == "moved":
            self.send_response(307)
            self.send_header("Location", "http://example.invalid/")
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif mode == "html":
            self._raw(200, "text/html", b"<html><body>It works!</body></html>")
        elif mode == "json":
            choice = {"text": TEXT, "finish_reason": "stop", "index": 0}
            self._answer(200, {"choices": [choice], "usage": {"prompt_tokens": 7, "completion_tokens": 5}})
        elif mode == "silent":
            self._watch(record)
        else:
            self._stream(mode, body, record)

    def _stream(self, mode: str, body: dict[str, Any], record: dict[str, Any]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for piece in self._pieces(mode, body):
            self._event({"choices": [{"text": piece, "index": 0, "finish_reason": None}]})
            record["chunks"] += 1
        if mode == "hang":
            self._watch(record)
        elif mode == "drop":
            self.close_connection = True
            self.connection.shutdown(2)
        elif mode == "malformed":
            self._chunk(b"data: {not json\n\n")
        elif mode == "shapeless":
            self._event({"object": "text_completion"})
        elif mode == "failing":
            self._event({"error": {"message": "out of memory", "code": 500}})
        elif mode != "early":
            self._last(body)
        self._chunk(b"")

    def _last(self, body: dict[str, Any]) -> None:
        self._event({"choices": [{"text": "", "index": 0, "finish_reason": "stop"}]})
        if body.get("stream_options", {}).get("include_usage"):
            usage = {
                "prompt_tokens": 40,
                "completion_tokens": 11,
                "prompt_tokens_details": {"cached_tokens": 30},
            }
            self._event({"choices": [], "usage": usage})
        self._chunk(b"data: [DONE]\n\n")

    def _pieces(self, mode: str, body: dict[str, Any]) -> Iterator[str]:
        if mode == "model":
            for event in self.model.create_completion(
                prompt=body["prompt"], max_tokens=body["max_tokens"], temperature=0.0, stream=True
            ):
                yield event["choices"][0]["text"]
        elif mode == "endless":
            for number in range(100_000):
                time.sleep(0.005)
                yield f"word{number}" + ("\n" if number % 5 == 4 else " + ")
        elif mode == "split":
            self._split()
        elif mode == "marker":
            yield from ("enter(", "1)", "<|file_", "sep|>other.py")
        elif mode == "hang":
            yield "enter("
        elif mode not in ("empty", "malformed"):
            yield from re.findall(r"\s*\S+|\s+$", TEXT)

    def _split(self) -> None:
        event = json.dumps({"choices": [{"text": "'é😀'", "index": 0}]}, ensure_ascii=False).encode()
        self._chunk(b": a comment\r\nevent: completion\r\ndata: ")
        for i in range(len(event)):
            self._chunk(event[i : i + 1])
        self._chunk(b"\r\n\r\n")

    def _watch(self, record: dict[str, Any]) -> None:
        """Say nothing until the client goes."""
        gone = self.connection.recv(1) == b""
        with _lock:
            record["gone"] = gone
        self.close_connection = True
        raise BrokenPipeError

    def _event(self, event: dict[str, Any]) -> None:
        self._chunk(b"data: " + json.dumps(event).encode() + b"\n\n")

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))

    def _answer(self, status: int, value: object) -> None:
        self._raw(status, "application/json", json.dumps(value).encode())

    def _raw(self, status: int, kind: str, data: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def main() -> None:
    if len(sys.argv) > 1:
        from llama_cpp import Llama

        Handler.model = Llama(sys.argv[1], n_ctx=1024, n_threads=2, verbose=False)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
