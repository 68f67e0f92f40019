"""A GGUF's weights as torch tensors, one at a time: nothing is held, the file is mapped."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine import formats
from engine.errors import ModelUnsupported
from engine.models import header, verify
from engine.models.header import Tensor as Entry
from engine.models.quantisation import BLOCKS


class Source:
    """The file at `path`, its structure checked. Raises ModelFileCorrupt."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.header = header.read(path)
        verify.check_tensors(self.header, path)
        self.entries: dict[str, Entry] = {entry.name: entry for entry in self.header.tensors}
        self._data = np.memmap(path, np.uint8, "r")
        formats.register()

    def __contains__(self, name: str) -> bool:
        return name in self.entries

    def raw(self, name: str) -> NDArray[np.uint8]:
        """The stored bytes, uint8 [rows, bytes a row] (one row for a vector); a view of the file."""
        entry = self.entries[name]
        _, per_block, block_bytes = BLOCKS[entry.kind]
        start = self.header.data_offset + entry.offset
        size = entry.elements // per_block * block_bytes
        return np.asarray(self._data[start : start + size]).reshape(self.shape(name)[0], -1)

    def shape(self, name: str) -> tuple[int, int]:
        """(rows, columns); a vector is one row."""
        shape = self.entries[name].shape
        return math.prod(shape[1:]), shape[0]

    def type_name(self, name: str) -> str:
        """Its type as GGUF names it, in small letters: `q4_0`."""
        return BLOCKS[self.entries[name].kind][0].lower()

    def tensor(self, name: str) -> Tensor:
        """float32 [rows, columns], or [columns] of a vector. Raises ModelUnsupported for unknown types."""
        from gguf import GGMLQuantizationType, quants

        raw, kind = np.ascontiguousarray(self.raw(name)), self.entries[name].kind
        try:
            values = quants.dequantize(raw, GGMLQuantizationType(kind))
        except (NotImplementedError, ValueError, KeyError) as error:
            raise ModelUnsupported(
                f"{self.path.name} stores {name} as {self.type_name(name)}, which cannot be read here",
                hint="start from a file of another quantisation",
                subject=self.path,
            ) from error
        owned = values if values.flags.writeable else values.copy()  # float32 is a view of the file
        found = torch.from_numpy(np.asarray(owned, np.float32))
        return found.reshape(-1) if len(self.entries[name].shape) == 1 else found
