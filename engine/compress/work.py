"""Finished layers on disk: a stopped compression goes on behind the last one."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch

from engine.compress.export import Changed
from engine.compress.packing import VECTOR
from engine.errors import UsageError
from engine.formats import FORMATS
from engine.models import lock

_GRIDS = FORMATS | {VECTOR.name: VECTOR}


class Work:
    """A folder of one run, told apart by its `identity`: model, method, types, layers, calibration."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self, layer: str) -> dict[str, Changed] | None:
        """The tensors of a finished `layer` by name, None when there are none that can be read."""
        try:
            with self._path(layer).open("rb") as file, np.load(file, allow_pickle=False) as stored:
                pairs = (key.split("@") for key in stored.files)
                return {name: Changed(_GRIDS[kind], stored[f"{name}@{kind}"]) for name, kind in pairs}
        except (OSError, ValueError, KeyError, EOFError, BadZipFile):
            return None

    def save(self, layer: str, tensors: Mapping[str, Changed]) -> None:
        """Keep them. Raises UsageError when they cannot be written."""
        draft = self._path(layer).with_suffix(".draft")
        try:
            with draft.open("wb") as file:
                np.savez(file, **{f"{name}@{entry.grid.name}": entry.data for name, entry in tensors.items()})  # type: ignore[arg-type]
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self._path(layer))
        except OSError as error:
            raise UsageError(
                f"{self._folder} cannot be written", hint=error.strerror or str(error)
            ) from error

    @property
    def finished(self) -> int:
        """How many layers an earlier run has finished."""
        return sum(1 for _ in self._folder.glob("layer-*.npz"))

    def note(self, key: str, found: Mapping[str, Any]) -> None:
        """Keep a small result under a name of its own. Raises UsageError when it cannot be written."""
        path = self._folder / f"{key}.json"
        draft = path.with_suffix(".draft")
        try:
            draft.write_text(json.dumps(found))
            draft.replace(path)
        except OSError as error:
            raise UsageError(
                f"{self._folder} cannot be written", hint=error.strerror or str(error)
            ) from error

    def noted(self, key: str) -> dict[str, Any] | None:
        """What `note` kept, None when there is nothing."""
        try:
            found = json.loads((self._folder / f"{key}.json").read_text())
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def keep(self, name: str, state: Mapping[str, Any]) -> None:
        """Keep a state of tensors and numbers. Raises UsageError when it cannot be written."""
        path = self._folder / f"{name}.pt"
        draft = path.with_suffix(".draft")
        try:
            with draft.open("wb") as file:
                torch.save(state, file)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        except (OSError, RuntimeError) as error:
            raise UsageError(f"{self._folder} cannot be written", hint=str(error).split("\n")[0]) from error

    def state(self, name: str) -> dict[str, Any] | None:
        """What `keep` kept, on the CPU; None when there is nothing that can be read."""
        try:
            found = torch.load(self._folder / f"{name}.pt", map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, EOFError, UnpicklingError):
            return None
        return found if isinstance(found, dict) else None

    def _path(self, layer: str) -> Path:
        return self._folder / f"{layer}.npz"

    def remove(self) -> None:
        """Forget it all, once the file is written."""
        shutil.rmtree(self._folder, ignore_errors=True)


@contextmanager
def opened(base: Path, identity: Mapping[str, Any]) -> Iterator[Work]:
    """The work of `identity` below `base`, locked. Raises UsageError when another process is at it."""
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
    folder = base / key

    def busy() -> None:
        raise UsageError("another process compresses the same model in the same way", hint="wait for it")

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder} cannot be written", hint=error.strerror or str(error)) from error
    with lock.held(base / f"{key}.lock", waiting=busy):
        yield Work(folder)
