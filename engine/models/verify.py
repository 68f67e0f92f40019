"""A structural check of a GGUF file: a damaged or truncated one is refused without hashing it."""

from __future__ import annotations

from pathlib import Path

from engine.errors import ModelFileCorrupt, ModelUnsupported
from engine.models import header
from engine.models.header import Header, Tensor
from engine.models.quantisation import BLOCKS, OWN_KINDS

FORMAT_KEY = "s24.version"  # of the types of docs/weight-types.md, in files that hold one
FORMAT_VERSION = 1


def check(path: Path) -> Header:
    """The file's header, once every tensor is known to lie inside the file.

    Raises ModelFileCorrupt, one line, with how many bytes are missing when it was cut short, and
    ModelUnsupported for another version of our own weight types. About 0.05 s for 150,000 tokens; the
    weights themselves are not read.
    """
    found = header.read(path)
    check_tensors(found, path)
    return found


def check_tensors(found: Header, path: Path) -> None:
    """Raise ModelFileCorrupt unless every tensor has a plausible shape and lies inside the file."""
    if not found.tensors or "general.architecture" not in found.metadata:
        raise ModelFileCorrupt(
            f"{path.name} is a GGUF file but not a model",
            hint="it names no architecture or holds no weights",
            subject=path,
        )
    if has_own_types(found) and (version := found.metadata.get(FORMAT_KEY)) != FORMAT_VERSION:
        raise ModelUnsupported(
            f"{path.name} holds S24_0 or I3_0 weights of version {version}, known is {FORMAT_VERSION}",
            hint="update Steerway, or compress the model again",
            subject=path,
        )
    names: set[str] = set()
    end = found.data_offset
    for tensor in found.tensors:
        if tensor.name in names:
            raise _bad(path, tensor, "is there twice")
        names.add(tensor.name)
        end = max(end, found.data_offset + tensor.offset + _bytes(tensor, path))
    if end > found.file_bytes:
        raise ModelFileCorrupt(
            f"{path.name} is cut short: {found.file_bytes} bytes of {end}",
            hint="copy or download it again",
            subject=path,
        )


def has_own_types(found: Header) -> bool:
    """Whether the weights are of types that only our llama.cpp reads."""
    return any(tensor.kind in OWN_KINDS for tensor in found.tensors)


def _bytes(tensor: Tensor, path: Path) -> int:
    """Bytes of the tensor's data. Types this table does not know are left to the engine to refuse."""
    if tensor.kind not in BLOCKS:
        return 0
    per_block, block_bytes = BLOCKS[tensor.kind][1:]
    if not tensor.shape or 0 in tensor.shape or tensor.shape[0] % per_block:
        raise _bad(path, tensor, f"has the shape {list(tensor.shape)}")
    return tensor.elements // per_block * block_bytes


def _bad(path: Path, tensor: Tensor, why: str) -> ModelFileCorrupt:
    return ModelFileCorrupt(
        f"{path.name} is damaged", hint=f"tensor {tensor.name[:60]!r} {why}", subject=path
    )
