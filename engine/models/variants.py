"""The optimised form of a model file: made here, kept beside the models, taken when it fits its source.

`<cache>/models/optimised/<name>.gguf` is the file, `<name>.json` says from which file it was made and what
was measured. Whatever does not fit together is ignored: the shipped file always runs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec

from engine.models import digest
from engine.models.quantisation import OWN_KINDS
from engine.settings import folders

SOURCE_KEY = "steerway.source.sha256"  # of the file it was made from, in the file itself


@dataclass(frozen=True, kw_only=True)
class Record:
    """What was decided for a model: `file_sha256` is "" where the shipped file is the best one.

    `types` maps groups of tensors to type names, `kinds` are the ggml types in the file, `build` is the
    library it was measured with, `reason` one line for people, `details` are the measurements.
    """

    source_sha256: str
    file_sha256: str
    types: dict[str, str]
    kinds: tuple[int, ...]
    build: str
    reason: str
    details: dict[str, Any] = field(default_factory=dict)


def folder() -> Path:
    """Where optimised files are."""
    return folders().models / "optimised"


def file_of(source: Path) -> Path:
    """Where the optimised form of `source` is kept, present or not."""
    return folder() / source.name


def record_of(source: Path) -> Record | None:
    """What was decided for exactly this file; None when nothing was, or it is not readable."""
    try:
        found = msgspec.json.decode(file_of(source).with_suffix(".json").read_bytes(), type=Record)
    except (OSError, msgspec.DecodeError):
        return None
    return found if found.source_sha256 == digest.of(source) else None


def preferred(source: Path) -> Path:
    """The optimised form of `source` where there is one and it is whole, else `source`."""
    found = record_of(source)
    file = file_of(source)
    if found is None or not found.file_sha256 or not file.is_file() or digest.of(file) != found.file_sha256:
        return source
    return file if _library_reads(found.kinds) else source


def _library_reads(kinds: tuple[int, ...]) -> bool:
    """Whether the installed library has these types, without loading it: our own are in our build only."""
    if not OWN_KINDS & set(kinds):
        return True
    try:
        return "+steerway" in metadata.version("llama-cpp-python")
    except metadata.PackageNotFoundError:
        return False


def keep(source: Path, record: Record) -> None:
    """Write what was decided. Raises OSError."""
    target = file_of(source).with_suffix(".json")
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_suffix(".draft")
    draft.write_bytes(msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n")
    draft.replace(target)


def forget(source: Path) -> int:
    """Delete the optimised form of `source` and its record; bytes freed."""
    freed = 0
    for path in (file_of(source), file_of(source).with_suffix(".json")):
        if path.is_file():
            freed += path.stat().st_size
            digest.forget(path)
            path.unlink()
    return freed
