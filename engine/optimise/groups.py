"""Which tensors of a model a decode reads whole, in groups that bear a change of type together."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from engine.models.header import Header, Tensor
from engine.models.quantisation import BLOCKS

_ROLES = (
    ("attention in", re.compile(r"blk\.(\d+)\.attn_(?:q|k|v|qkv)\.weight")),
    ("attention out", re.compile(r"blk\.(\d+)\.attn_output\.weight")),
    ("gate and up", re.compile(r"blk\.(\d+)\.ffn_(?:gate|up)\.weight")),
    ("down", re.compile(r"blk\.(\d+)\.ffn_down\.weight")),
)
HEAD = "head"
_PARTS = ("first", "middle", "last")


@dataclass(frozen=True)
class Group:
    """Tensors of one role in a third of the layers; `role` is HEAD for the output head."""

    name: str
    role: str
    tensors: tuple[Tensor, ...]

    @property
    def weights(self) -> int:
        """How many a token reads."""
        return sum(tensor.elements for tensor in self.tensors)

    def takes(self, kind: int) -> bool:
        """Whether all rows are whole blocks of type `kind`."""
        return all(tensor.shape[0] % BLOCKS[kind][1] == 0 for tensor in self.tensors)


def groups(found: Header) -> tuple[Group, ...]:
    """The groups of a model, the head first. Tensors of no known role stay as they are and are in none."""
    layers = (
        max((int(match[1]) for tensor in found.tensors if (match := _match(tensor.name))), default=-1) + 1
    )
    kept: dict[tuple[str, str], list[Tensor]] = {}
    for tensor in found.tensors:
        for role, pattern in _ROLES:
            if match := pattern.fullmatch(tensor.name):
                part = _PARTS[3 * int(match[1]) // layers]
                kept.setdefault((role, part), []).append(tensor)
    ordered = [
        Group(f"{role}, {part} third", role, tuple(kept[role, part]))
        for role, _ in _ROLES
        for part in _PARTS
        if (role, part) in kept
    ]
    head = _head(found.tensors)
    return (*([Group(HEAD, HEAD, (head,))] if head else []), *ordered)


def _match(name: str) -> re.Match[str] | None:
    return next((match for _, pattern in _ROLES if (match := pattern.fullmatch(name))), None)


def _head(tensors: Sequence[Tensor]) -> Tensor | None:
    """The output head; the embedding where a model has one matrix for both."""
    by_name = {tensor.name: tensor for tensor in tensors}
    return by_name.get("output.weight") or by_name.get("token_embd.weight")
