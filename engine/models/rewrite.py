"""A GGUF file again with other weights: metadata byte for byte, entries added, some tensors replaced.

The `gguf` package makes an object of every token, which takes 4 to 14 s a file; nothing is parsed here that
stays as it is. Format: the GGUF specification, version 3.
"""

from __future__ import annotations

import math
import os
import shutil
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from engine.errors import EngineError
from engine.models import verify
from engine.models.header import STRING, Header, Tensor
from engine.models.quantisation import BLOCKS

_CHUNK_BYTES = 8 << 20
_ALIGNMENT = 32
_U32, _F32, _U64 = 4, 6, 10

Data = bytes | memoryview


@dataclass(frozen=True)
class Replacement:
    """Other data for a tensor of the same shape: `kind` is a ggml type; `data` makes its bytes when due."""

    kind: int
    data: Callable[[], Data]


def rewrite(
    source: Path,
    target: Path,
    replacements: Mapping[str, Replacement],
    entries: Mapping[str, str | int | float],
    *,
    on_tensor: Callable[[str], None] = lambda name: None,
) -> None:
    """Write `source` to `target` with these tensors' data replaced and these metadata entries added.

    One replacement's bytes are held at a time. An unfinished file is never left under the name `target`.
    Raises ModelFileCorrupt for a damaged source, EngineError when the disk is full or an entry exists.
    """
    found = verify.check(source)
    if clash := next((key for key in entries if key in found.metadata or key in found.arrays), None):
        raise EngineError(f"{source.name} has an entry {clash} already", hint="start from another file")
    if unknown := next((name for name in replacements if name not in {t.name for t in found.tensors}), None):
        raise EngineError(f"{source.name} has no tensor {unknown}", subject=unknown)
    kinds = {name: replacement.kind for name, replacement in replacements.items()}
    tensors = _placed(found, kinds)
    _check_room(target, found, tensors)
    draft = target.with_name(f".{target.name}.{os.getpid()}.draft")
    try:
        with source.open("rb") as old, draft.open("wb") as new:
            _write_header(old, new, found, tensors, entries)
            for tensor, origin in zip(tensors, found.tensors, strict=True):
                _pad(new)
                if tensor.name in replacements:
                    on_tensor(tensor.name)
                    new.write(_checked(tensor, replacements[tensor.name].data()))
                else:
                    old.seek(found.data_offset + origin.offset)
                    _copy(old, new, size_of(origin))
            _pad(new)
            new.flush()
            os.fsync(new.fileno())
        draft.replace(target)
    except OSError as error:
        raise EngineError(f"{target} cannot be written", hint=error.strerror or str(error)) from error
    finally:
        draft.unlink(missing_ok=True)


def size_of(tensor: Tensor) -> int:
    """Bytes of a tensor's data. Raises EngineError for a type this table does not know."""
    if tensor.kind not in BLOCKS:
        raise EngineError(f"tensor {tensor.name} has the unknown type {tensor.kind}", subject=tensor.name)
    _, per_block, block_bytes = BLOCKS[tensor.kind]
    return tensor.elements // per_block * block_bytes


def read(path: Path, found: Header, tensor: Tensor) -> bytes:
    """The data of one tensor of the file whose header is `found`."""
    with path.open("rb") as file:
        file.seek(found.data_offset + tensor.offset)
        return file.read(size_of(tensor))


def _placed(found: Header, kinds: Mapping[str, int]) -> list[Tensor]:
    """The tensors in their order, with their new types and places."""
    placed, offset = [], 0
    for tensor in found.tensors:
        new = Tensor(tensor.name, tensor.shape, kinds.get(tensor.name, tensor.kind), offset)
        per_block = BLOCKS[new.kind][1] if new.kind in BLOCKS else 1
        if new.shape[0] % per_block:
            name = BLOCKS[new.kind][0]
            raise EngineError(f"rows of {new.shape[0]} weights cannot be {name}", subject=tensor.name)
        placed.append(new)
        offset += math.ceil(size_of(new) / _ALIGNMENT) * _ALIGNMENT
    return placed


def _check_room(target: Path, found: Header, tensors: list[Tensor]) -> None:
    needed = found.data_offset + sum(size_of(tensor) for tensor in tensors) + (16 << 20)
    target.parent.mkdir(parents=True, exist_ok=True)
    if (free := shutil.disk_usage(target.parent).free) < needed:
        raise EngineError(
            f"{target} needs {needed >> 20} MB, and {free >> 20} MB are free",
            hint="make room, or name another folder",
            subject=target,
        )


def _write_header(
    old: BinaryIO,
    new: BinaryIO,
    found: Header,
    tensors: list[Tensor],
    entries: Mapping[str, str | int | float],
) -> None:
    added = dict(entries)
    if found.metadata.get("general.alignment", _ALIGNMENT) != _ALIGNMENT:
        raise EngineError("only files aligned to 32 bytes can be rewritten", subject=old.name)
    new.write(b"GGUF" + struct.pack("<IQQ", 3, len(tensors), found.entries + len(added)))
    start, end = found.entries_span
    old.seek(start)
    _copy(old, new, end - start)
    for key, value in added.items():
        new.write(_text(key) + _value(value))
    for tensor in tensors:
        new.write(_text(tensor.name) + struct.pack("<I", len(tensor.shape)))
        new.write(struct.pack(f"<{len(tensor.shape)}QIQ", *tensor.shape, tensor.kind, tensor.offset))


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _value(value: str | int | float) -> bytes:
    if isinstance(value, str):
        return struct.pack("<I", STRING) + _text(value)
    if isinstance(value, int):
        return struct.pack("<II", _U32, value) if value < 1 << 32 else struct.pack("<IQ", _U64, value)
    return struct.pack("<If", _F32, value)


def _checked(tensor: Tensor, data: Data) -> Data:
    if len(data) != size_of(tensor):
        raise EngineError(f"{tensor.name} would have {len(data)} bytes of {size_of(tensor)}")
    return data


def _pad(file: BinaryIO) -> None:
    file.write(b"\0" * (-file.tell() % _ALIGNMENT))


def _copy(old: BinaryIO, new: BinaryIO, count: int) -> None:
    while count:
        chunk = old.read(min(count, _CHUNK_BYTES))
        if not chunk:
            raise OSError("the file became shorter while it was read")
        new.write(chunk)
        count -= len(chunk)
