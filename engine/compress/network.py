"""A whole model in memory whose weights can be trained: forward.Block after Block, with gradients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.compress.export import Changed
from engine.compress.packing import unpack
from engine.reference import architecture, forward
from engine.reference.architecture import EMBEDDING, OUTPUT, OUTPUT_NORM
from engine.reference.forward import rms_norm
from engine.reference.source import Source


@dataclass(frozen=True)
class Place:
    """Where and how precisely products are computed; everything else is float32."""

    device: torch.device
    precision: torch.dtype

    def autocast(self) -> torch.autocast:
        """Products of float32 activations in `precision`."""
        narrow = self.precision != torch.float32
        return torch.autocast(self.device.type, dtype=self.precision, enabled=narrow)


class Network:
    """`source` with the tensors in `changed` instead of its own, linear layers in `place.precision`.

    Holds all weights: 2 bytes each in bfloat16, 4 in float32, and the embedding in float32.
    """

    def __init__(
        self, source: Source, changed: Mapping[str, Changed], place: Place, *, positions: int
    ) -> None:
        found = architecture.of(source)
        self.place, self._epsilon = place, found.epsilon
        turn = forward.rotation(source, found, positions).to(place.device)
        self.blocks = [forward.Block(source, found, layer, turn) for layer in range(found.layers)]
        self._embedding = _read(source, changed, EMBEDDING).to(place.device)
        self.head = self._embedding if found.tied else _read(source, changed, OUTPUT).to(place.device)
        self.head = self.head.to(place.precision)
        self.norm = _read(source, changed, OUTPUT_NORM).to(place.device)
        for layer, block in enumerate(self.blocks):
            for name, tensor in block.tensors().items():
                entry = changed.get(f"blk.{layer}.{name}")
                value = tensor if entry is None else unpack(entry.grid, entry.data).reshape(tensor.shape)
                wide = value.dim() == 1  # norms and biases
                block.put(name, value.to(place.device, torch.float32 if wide else place.precision))

    def put(self, name: str, tensor: Tensor) -> None:
        """Replace the tensor that a file calls `name`: of a block, or the last norm."""
        if name == OUTPUT_NORM:
            self.norm = tensor
            return
        _, layer, rest = name.split(".", 2)
        self.blocks[int(layer)].put(rest, tensor)

    def states(self, tokens: Tensor) -> Tensor:
        """What the output layer reads, float32 [sequences * positions, width], of `tokens` int64."""
        with self.place.autocast():
            hidden = forward.embed(self._embedding, tokens.to(self.place.device))
            for block in self.blocks:
                hidden = block.mlp(block.attention(hidden))
        return rms_norm(hidden, self.norm, self._epsilon).flatten(0, 1)


def _read(source: Source, changed: Mapping[str, Changed], name: str) -> Tensor:
    entry = changed.get(name)
    whole = source.tensor(name)
    return whole if entry is None else unpack(entry.grid, entry.data).reshape(whole.shape)
