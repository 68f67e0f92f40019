"""The compressed model as a GGUF: what the source says of itself, the changed tensors, what was done."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.errors import UsageError
from engine.formats import Grid
from engine.models import digest, rewrite, variants
from engine.models.quantisation import OWN_KINDS
from engine.models.verify import FORMAT_KEY, FORMAT_VERSION
from engine.reference.source import Source

PREFIX = "steerway.compress."


@dataclass(frozen=True)
class Changed:
    """A tensor's new type and its rows of bytes."""

    grid: Grid
    data: NDArray[np.uint8]


def check_target(out: Path, source: Source) -> None:
    """Before any work: `out` can be written, and `source` was not compressed already. Raises UsageError."""
    if out.exists() and (not out.is_file() or out.samefile(source.path)):
        what = "the model itself" if out.is_file() else "no file"
        raise UsageError(f"{out} is {what}", hint="choose another name with -o", subject=out)
    folder = out.absolute().parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise UsageError(
            f"{folder} is no folder that can be written", hint="choose another with -o", subject=out
        )
    keys = source.header.metadata.keys()
    if FORMAT_KEY in keys or any(key.startswith(PREFIX) for key in keys):
        hint = "start from the model it was made of"
        raise UsageError(f"{source.path.name} was compressed already", hint=hint, subject=source.path)


def data_bytes(source: Source, grids: Mapping[str, Grid]) -> int:
    """Bytes of all tensors once those in `grids` are stored so."""
    total = 0
    for name, entry in source.entries.items():
        grid = grids.get(name)
        total += entry.elements // grid.block * grid.block_bytes if grid else rewrite.size_of(entry)
    return total


def write(
    source: Source, out: Path, changed: Mapping[str, Changed], facts: Mapping[str, str | int | float]
) -> None:
    """Write `out` under a temporary name, then rename; `facts` become `steerway.compress.*` entries.

    The source's metadata is copied byte for byte. Raises EngineError when the disk is full or fails; nothing
    is left behind then.
    """
    entries: dict[str, str | int | float] = {PREFIX + key: value for key, value in facts.items()}
    entries[variants.SOURCE_KEY] = digest.of(source.path)
    if any(entry.grid.kind in OWN_KINDS for entry in changed.values()):
        entries[FORMAT_KEY] = FORMAT_VERSION
    replacements = {name: _replacement(entry) for name, entry in changed.items()}
    rewrite.rewrite(source.path, out, replacements, entries)


def _replacement(changed: Changed) -> rewrite.Replacement:
    return rewrite.Replacement(changed.grid.kind, lambda: changed.data.tobytes())
