"""Model files, wheels and a Hugging Face of our own: small, but real."""

from __future__ import annotations

import base64
import hashlib
import os
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest


@pytest.fixture
def make_gguf(tmp_path: Path) -> Callable[..., Path]:
    """Writes a tiny GGUF with gguf-py: metadata, a vocabulary, and a few tensors."""

    def make(
        name: str = "tiny.gguf",
        *,
        tokens: tuple[str, ...] = ("a", "b"),
        rows: int = 4,
        note: str = "",
        texts: dict[str, str] | None = None,
    ) -> Path:
        import gguf
        import numpy as np

        path = tmp_path / name
        writer = gguf.GGUFWriter(path, "llama")
        writer.add_name("Tiny")
        writer.add_description(note)
        writer.add_block_count(2)
        writer.add_context_length(128)
        writer.add_embedding_length(64)
        writer.add_head_count(4)
        writer.add_head_count_kv(2)
        writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
        for key, text in (texts or {}).items():
            writer.add_string(key, text)
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("smollm")
        writer.add_token_list(list(tokens))
        writer.add_token_scores([0.5] * len(tokens))
        weights = (np.arange(rows * 64, dtype=np.float32) % 97).reshape(rows, 64)
        quantised = gguf.quantize(weights, gguf.GGMLQuantizationType.Q8_0)
        writer.add_tensor("blk.0.weight", quantised, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
        writer.add_tensor("norm.weight", np.ones(64, dtype=np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path

    return make


@dataclass
class Wheelhouse:
    """A folder of wheels that pip finds, and nothing else."""

    folder: Path

    def add(self, name: str, members: dict[str, bytes], *, version: str = "1.0") -> Path:
        """Write one valid wheel that holds `members`."""
        stem = name.replace("-", "_")
        info = f"{stem}-{version}.dist-info"
        files = {
            **members,
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
            f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        record = "".join(f"{path},{_digest(data)},{len(data)}\n" for path, data in files.items())
        files[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
        wheel = self.folder / f"{stem}-{version}-py3-none-any.whl"
        with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
            for path, data in files.items():
                archive.writestr(path, data)
        return wheel


def _digest(data: bytes) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


@pytest.fixture
def wheelhouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Wheelhouse:
    """The only place the real pip looks, by its own configuration."""
    folder = tmp_path / "wheelhouse"
    folder.mkdir()
    for variable in [key for key in os.environ if key.startswith("PIP_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return Wheelhouse(folder)


@dataclass
class Hub:
    """A loopback server that answers like Hugging Face does for one file: with a redirect to another host.

    `cut` bytes are sent before the connection breaks (None: all); `gate` holds the second half back until
    set; `ranges` records the Range header of every download.
    """

    data: bytes
    cut: int | None = None
    gate: threading.Event = field(default_factory=threading.Event)
    ranges: list[str] = field(default_factory=list)
    asked: threading.Event = field(default_factory=threading.Event)

    def handler(hub) -> type[BaseHTTPRequestHandler]:
        """The request handler of this server."""

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                self.redirect()

            def do_GET(self) -> None:
                if "/resolve/" in self.path:
                    self.redirect()
                elif self.path == "/content":
                    self.content()
                else:
                    self.send_error(404)

            def redirect(self) -> None:
                self.send_response(302)
                self.send_header("Location", f"http://localhost:{self.server.server_port}/content")
                self.send_header("X-Linked-Size", str(len(hub.data)))
                self.send_header("X-Linked-ETag", f'"{hashlib.sha256(hub.data).hexdigest()}"')
                self.send_header("X-Repo-Commit", "0" * 40)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def content(self) -> None:
                wanted = self.headers.get("Range", "")
                hub.ranges.append(wanted)
                start = int(wanted.removeprefix("bytes=").split("-")[0]) if wanted else 0
                body = hub.data[start:]
                self.send_response(206 if wanted else 200)
                self.send_header("Content-Length", str(len(body)))
                if wanted:
                    self.send_header("Content-Range", f"bytes {start}-{len(hub.data) - 1}/{len(hub.data)}")
                self.end_headers()
                half = hub.cut or len(body) // 2
                self.wfile.write(body[:half])
                self.wfile.flush()
                hub.asked.set()
                hub.gate.wait(60)
                if hub.cut is None:
                    self.wfile.write(body[half:])
                else:
                    self.close_connection = True

            def log_message(self, format: str, *args: object) -> None: ...

        return Handler


@pytest.fixture
def make_hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[bytes], Hub]]:
    """Starts a Hub and points huggingface_hub at it; its gate is open."""
    servers: list[ThreadingHTTPServer] = []
    hubs: list[Hub] = []

    def make(data: bytes) -> Hub:
        hub = Hub(data)
        hub.gate.set()
        server = ThreadingHTTPServer(("127.0.0.1", 0), hub.handler())
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        hubs.append(hub)
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        return hub

    yield make
    for hub in hubs:
        hub.gate.set()
    for server in servers:
        server.shutdown()
        server.server_close()


def catalogue_entry(path: Path, *, sources: str, name: str = "tiny", sha256: str = "") -> str:
    """The TOML of a catalogue entry for the file at `path`."""
    data = path.read_bytes()
    return (
        f'[models."{name}"]\ntitle = "Tiny"\nlicense = "Apache-2.0"\nfile = "{name}.gguf"\n'
        f'bytes = {len(data)}\nsha256 = "{sha256 or hashlib.sha256(data).hexdigest()}"\n{sources}\n'
    )


@pytest.fixture
def add_model(isolated_home: Path) -> Callable[..., None]:
    """Adds a model to the person's own models.toml, in a home of its own."""

    def add(path: Path, *, sources: str, name: str = "tiny", sha256: str = "") -> None:
        file = isolated_home / "config" / "models.toml"
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a") as out:
            out.write(catalogue_entry(path, sources=sources, name=name, sha256=sha256))

    return add
