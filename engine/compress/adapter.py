"""A low-rank adapter (LoRA, arXiv:2106.09685) as llama.cpp reads it: a small GGUF beside the model's."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from engine.errors import EngineError


@dataclass(frozen=True)
class Pair:
    """What is added to a layer's weight is b a: `a` f16 [rank, columns], `b` f16 [rows, rank]."""

    a: Tensor
    b: Tensor

    @property
    def product(self) -> Tensor:
        """float32 [rows, columns]."""
        return self.b.float() @ self.a.float()

    @property
    def bytes(self) -> int:
        """In the file."""
        return 2 * int(self.a.numel() + self.b.numel())


def path_beside(out: Path) -> Path:
    """The adapter's file for the model `out`: `small.lora.gguf` for `small.gguf`."""
    return out.with_name(f"{out.name.removesuffix('.gguf')}.lora.gguf")


def write(path: Path, architecture: str, pairs: Mapping[str, Pair], facts: Mapping[str, str]) -> None:
    """The adapter for a model of `architecture`; `pairs` by the names of the tensors they are added to.

    Alpha is the rank, so that the product is added as it is. Nothing unfinished is left under the name
    `path`. Raises EngineError when it cannot be written.
    """
    from gguf import GGUFWriter

    draft = path.with_name(f".{path.name}.{os.getpid()}.draft")
    try:
        writer = GGUFWriter(draft, architecture)
        writer.add_string("general.type", "adapter")
        writer.add_string("adapter.type", "lora")
        rank = next(iter(pairs.values())).a.shape[0] if pairs else 0
        writer.add_float32("adapter.lora.alpha", float(rank))
        for key, value in facts.items():
            writer.add_string(key, value)
        for name, pair in pairs.items():
            writer.add_tensor(f"{name}.lora_a", np.ascontiguousarray(pair.a.numpy()))
            writer.add_tensor(f"{name}.lora_b", np.ascontiguousarray(pair.b.numpy()))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        draft.replace(path)
    except OSError as error:
        raise EngineError(f"{path} cannot be written", hint=error.strerror or str(error)) from error
    finally:
        draft.unlink(missing_ok=True)
