"""Where model files are on this machine: the user's store, and read-only folders shared between users."""

from __future__ import annotations

import os
from pathlib import Path

from engine.errors import ModelFileCorrupt
from engine.models import digest
from engine.models.catalogue import Model
from engine.settings import folders


def path_of(model: Model) -> Path:
    """Where the store keeps `model`, present or not."""
    return folders().models / model.file


def find(model: Model) -> Path | None:
    """The model's file on this machine: a shared folder's when it fits, else the store's, else None.

    A file in a `STEERWAY_MODELS` folder counts when it has the catalogue's name, length and SHA-256
    (read once, then remembered). Raises ModelFileCorrupt when the store's own is not what was verified.
    """
    for folder in _shared_folders():
        candidate = folder / model.file
        if _length(candidate) == model.bytes and digest.of(candidate) == model.sha256:
            return candidate
    own = path_of(model)
    if _length(own) is None:
        return None
    check(own, model)
    return own


def check(path: Path, model: Model) -> None:
    """Raise ModelFileCorrupt unless `path` is `model`, byte for byte; hashed once, then remembered."""
    hint = f"`steerway model pull {model.name}` fetches it again"
    length = _length(path)
    if length != model.bytes:
        message = f"{path.name} has {length} bytes instead of {model.bytes}"
        raise ModelFileCorrupt(message, hint=hint, subject=path)
    if digest.of(path) != model.sha256:
        message = f"{path.name} is not the file of the catalogue (SHA-256 differs)"
        raise ModelFileCorrupt(message, hint=hint, subject=path)


def _shared_folders() -> list[Path]:
    listed = os.environ.get("STEERWAY_MODELS", "")
    return [Path(part).expanduser() for part in listed.split(os.pathsep) if part]


def _length(path: Path) -> int | None:
    try:
        return path.stat().st_size if path.is_file() else None
    except OSError:
        return None
