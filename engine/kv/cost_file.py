"""A cost model's constants and recent corrections on disk: one small JSON file per machine, model and build.

Written atomically, by whichever process was last; a file that cannot be read, or says what no machine does,
is no file.
"""

from __future__ import annotations

import hashlib
import logging
import os
import platform
import tempfile
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from engine.kv.cost import Costs, Part

log = logging.getLogger(__name__)

VERSION = 1
_MOST_BYTES = 65_536

Ms = Annotated[float, Meta(ge=0.0, le=1e7)]
Batch = tuple[Annotated[int, Meta(ge=1, le=1 << 20)], Annotated[float, Meta(gt=0.0, le=1e7)]]


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the file holds; the constants are those of Costs, checked."""

    version: int
    batches: Annotated[list[Batch], Meta(min_length=1, max_length=32)]
    attend_ms: Ms
    decode_ms: Annotated[float, Meta(gt=0.0, le=1e7)]
    decode_attend_ms: Ms
    ram_ms: Ms
    disk_ms: Ms
    read_ms: Ms
    rotate_ms: Ms
    measured: Annotated[float, Meta(ge=0.0, le=1e11)]
    ratios: dict[Part, Annotated[list[Annotated[float, Meta(gt=0.0, le=1e3)]], Meta(max_length=64)]] = {}


def key_of(*, model: str, build: str, threads: int) -> str:
    """A hash of this machine's name and processor, the model's hash, the build and the threads."""
    facts = (platform.node(), platform.machine(), _processor(), model, build, str(threads))
    return hashlib.sha256("\0".join(facts).encode("utf-8", "replace")).hexdigest()[:32]


def read(folder: Path, key: str) -> tuple[Costs, dict[Part, list[float]]] | None:
    """The constants and corrections kept under `key`; None where there are none that make sense."""
    try:
        with _path(folder, key).open("rb") as file:
            found = msgspec.json.decode(file.read(_MOST_BYTES), type=_File)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None
    sizes = [size for size, _ in found.batches]
    if found.version != VERSION or sizes != sorted(set(sizes)):
        return None
    fields = {name: getattr(found, name) for name in Costs.__dataclass_fields__ if name != "batches"}
    return Costs(batches=tuple(found.batches), **fields), found.ratios


def write(folder: Path, key: str, costs: Costs, ratios: dict[Part, tuple[float, ...]]) -> bool:
    """Keep constants and corrections under `key`. False when the disk does not let us, which is logged."""
    constants = {name: getattr(costs, name) for name in Costs.__dataclass_fields__}
    data = msgspec.json.encode({"version": VERSION, **constants, "ratios": ratios})
    try:
        replace_file(_path(folder, key), data)
    except OSError as error:
        log.info("measured costs are not kept: %s", error)
        return False
    return True


def replace_file(target: Path, data: bytes) -> None:
    """Write a small file of the user's own, atomically, making its folder. Raises OSError."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=".new-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _path(folder: Path, key: str) -> Path:
    return folder / f"{key}.json"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
