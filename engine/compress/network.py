"""A whole model in memory whose weights can be trained: forward.Block after Block, with gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.compress.export import Changed
from engine.compress.packing import unpack
from engine.reference import architecture, forward
from engine.reference.architecture import EMBEDDING, OUTPUT, OUTPUT_NORM
from engine.reference.forward import rms_norm
from engine.reference.source import Source

# From a block and `hidden` [sequences, positions, width] to `hidden` behind the block's attention.
Attention = Callable[[forward.Block, Tensor], Tensor]


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

    Holds all weights: 2 bytes each in bfloat16, 4 in float32, and the embedding in float32. `block` is what
    they are held in.
    """

    def __init__(
        self, source: Source, changed: Mapping[str, Changed], place: Place, *, positions: int,
        block: type[forward.Block] = forward.Block,
    ) -> None:  # fmt: skip
        found = architecture.of(source)
        self.place, self._epsilon = place, found.epsilon
        turn = forward.rotation(source, found, positions).to(place.device)
        self.blocks = [block(source, found, layer, turn) for layer in range(found.layers)]
        self._embedding = _read(source, changed, EMBEDDING).to(place.device)
        self.head = self._embedding if found.tied else _read(source, changed, OUTPUT).to(place.device)
        self.head = self.head.to(place.precision)
        self.norm = _read(source, changed, OUTPUT_NORM).to(place.device)
        for layer, held in enumerate(self.blocks):
            for name, tensor in held.tensors().items():
                entry = changed.get(f"blk.{layer}.{name}")
                value = tensor if entry is None else unpack(entry.grid, entry.data).reshape(tensor.shape)
                wide = value.dim() == 1  # norms and biases
                held.put(name, value.to(place.device, torch.float32 if wide else place.precision))

    def put(self, name: str, tensor: Tensor) -> None:
        """Replace the tensor that a file calls `name`: of a block, or the last norm."""
        if name == OUTPUT_NORM:
            self.norm = tensor
            return
        _, layer, rest = name.split(".", 2)
        self.blocks[int(layer)].put(rest, tensor)

    def states(self, tokens: Tensor, attention: Mapping[int, Attention] | None = None) -> Tensor:
        """What the output layer reads, float32 [sequences * positions, width], of `tokens` int64.

        Layers in `attention` have that one instead of their own.
        """
        other = attention or {}
        with self.place.autocast():
            hidden = forward.embed(self._embedding, tokens.to(self.place.device))
            for layer, block in enumerate(self.blocks):
                attend = other.get(layer, forward.Block.attention)
                hidden = block.mlp(attend(block, hidden))
        return rms_norm(hidden, self.norm, self._epsilon).flatten(0, 1)


def _read(source: Source, changed: Mapping[str, Changed], name: str) -> Tensor:
    entry = changed.get(name)
    whole = source.tensor(name)
    return whole if entry is None else unpack(entry.grid, entry.data).reshape(whole.shape)
