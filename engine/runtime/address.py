"""Where an engine's service is: which one is meant, its socket, and who may be at the other end."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import socket
import stat
import struct
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

from engine.errors import EngineUnavailable
from engine.injection import profile
from engine.settings import Settings, folders

# sockaddr_un.sun_path holds 108 bytes on Linux, 104 on macOS, the end mark included.
MAX_PATH_BYTES = 103
_NAME_BYTES = 8
# What a request carries with it, or only a front end reads: no reason for another process.
_NOT_OF_THE_ENGINE = frozenset(
    {
        "model",
        "model_source",
        "model_form",
        "document_tokens",
        "file_tokens",
        "max_tokens",
        "budget_ms",
        "patience_ms",
        "stop_at",
        "temperature",
        "layout",
        "engine",
        "engine_idle_minutes",
    }
)


@dataclass(frozen=True)
class Spec:
    """The engine that is wanted: a model's file (or what `open_engine` takes) under a person's settings."""

    model: str
    settings: Settings

    @property
    def name(self) -> str:
        """Hex digits (16), others for another model, adapter or head profile, other settings or build."""
        kept = msgspec.structs.asdict(self.settings)
        settings = {key: value for key, value in kept.items() if key not in _NOT_OF_THE_ENGINE}
        home = folders()
        files = [_identity(path) for path in (self.model, self.settings.adapter) if path]
        if self.settings.heads != "off":
            files.append([*profile.stamps(home.state / "heads")])
        facts = [files, settings, build(), str(home.cache), str(home.state), os.geteuid()]
        data = msgspec.json.encode(facts, order="deterministic")
        return hashlib.blake2b(data, digest_size=_NAME_BYTES).hexdigest()

    @property
    def socket(self) -> Path:
        """Where its service listens. Raises EngineUnavailable when there can be none."""
        return runtime_folder() / f"{self.name}.sock"

    @property
    def lock(self) -> Path:
        """Held by its service while it lives; holds JSON about it."""
        return runtime_folder() / f"{self.name}.lock"

    @property
    def log(self) -> Path:
        """Where its service's stderr goes."""
        return folders().state / "engine" / f"{self.name}.log"

    def to_json(self) -> bytes:
        """For the process that is started."""
        return msgspec.json.encode({"model": self.model, "settings": msgspec.structs.asdict(self.settings)})

    @classmethod
    def from_json(cls, data: bytes) -> Spec:
        """What `to_json` wrote. Raises msgspec.ValidationError."""
        values = msgspec.json.decode(data, type=dict[str, Any])
        return cls(str(values["model"]), msgspec.convert(values["settings"], Settings))


@cache
def build() -> str:
    """What makes processes of the same settings different programs: versions, and the files' stamps."""
    digest = hashlib.blake2b(digest_size=_NAME_BYTES)
    for path, found in sorted(_program_files()):
        digest.update(f"{path}\0{found.st_size}\0{found.st_mtime_ns}\n".encode(errors="surrogateescape"))
    return f"{version('steerway')} {sys.version_info[:2]} {digest.hexdigest()}"


def runtime_folder() -> Path:
    """The folder of the sockets, made and private. Raises EngineUnavailable.

    `$XDG_RUNTIME_DIR/steerway`, else a folder of the state folder, or of /tmp where that path is too long
    for a socket.
    """
    folder = _wanted_folder()
    longest = folder / f"{'f' * 2 * _NAME_BYTES}.sock"
    if len(os.fsencode(longest)) > MAX_PATH_BYTES:
        digest = hashlib.blake2b(os.fsencode(folder), digest_size=4).hexdigest()
        # Not TMPDIR: two terminals may have two of them.
        shared = Path("/tmp")
        place = shared if os.access(shared, os.W_OK) else Path(tempfile.gettempdir())
        folder = place / f"steerway-{os.geteuid()}-{digest}"
    try:
        return private(folder)
    except OSError as error:
        reason = error.strerror or str(error)
        raise EngineUnavailable(f"{folder} cannot hold sockets", hint=reason, subject=folder) from error


def check_sockets() -> None:
    """Try whether this system and that folder take a socket. Raises EngineUnavailable."""
    folder = runtime_folder()
    trial = folder / f"trial-{os.getpid()}"
    try:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(trial))
        trial.unlink()
    except (OSError, AttributeError) as error:
        raise EngineUnavailable(f"{folder} takes no sockets", hint=str(error), subject=folder) from error


def private(folder: Path) -> Path:
    """`folder`, made if need be, of this user and for nobody else. Raises EngineUnavailable, OSError."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise EngineUnavailable(
            f"{folder} is not a folder of yours", hint="remove it, or set XDG_RUNTIME_DIR", subject=folder
        )
    if found.st_mode & 0o077:
        folder.chmod(0o700)
    return folder


def peer(connection: socket.socket) -> tuple[int, int]:
    """User id and process id (0 where the system does not say) at the other end of a Unix socket."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is not None:
        data = connection.getsockopt(socket.SOL_SOCKET, option, struct.calcsize("3i"))
        pid, uid, _ = struct.unpack("3i", data)
        return uid, pid
    # LOCAL_PEERCRED of SOL_LOCAL: struct xucred begins with its version and the effective user id.
    data = connection.getsockopt(0, 1, 76)
    pid = struct.unpack("i", connection.getsockopt(0, 2, 4))[0] if sys.platform == "darwin" else 0
    return struct.unpack_from("2I", data)[1], pid


def is_ours(connection: socket.socket) -> bool:
    """Whether the same user is at the other end."""
    return peer(connection)[0] == os.geteuid()


def _wanted_folder() -> Path:
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and not os.environ.get("STEERWAY_HOME") and Path(runtime).is_dir():
        return Path(runtime) / "steerway"
    return folders().state / "run"


def _identity(model: str) -> list[object]:
    """A file by what the system knows it by, so that a new one under the old name is another."""
    try:
        path = Path(model).resolve(strict=True)
        found = path.stat()
    except OSError:
        return [model]
    return [str(path), found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns]


def _program_files() -> Iterator[tuple[str, os.stat_result]]:
    yield from _below(Path(__file__).parents[1], ".py")
    native = importlib.util.find_spec("llama_cpp")
    if native is not None and native.origin:
        yield from _below(Path(native.origin).parent / "lib", "")


def _below(folder: Path, ending: str) -> Iterator[tuple[str, os.stat_result]]:
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _below(Path(entry.path), ending)
        elif entry.name.endswith(ending):
            yield entry.path, entry.stat()
