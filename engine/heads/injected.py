"""Heads that follow patterns in a forward pass that is trained through, and as the engine is given them.

The same outputs as a Trunk's with `patterns.Follow`, all heads of a layer at once, and for products in
bfloat16 and on a GPU.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from engine.heads import patterns
from engine.heads.bench import Replace
from engine.heads.patterns import Follow
from engine.heads.trunk import Change
from engine.heads.windows import Tokens, Window
from engine.reference.forward import Block
from engine.runtime.given import GivenHead

# c_h of every replaced head, float32 [head width].
Constants = Mapping[Replace, Tensor]


@dataclass(frozen=True, eq=False)
class Injected:
    """A block's attention with `heads` int64 [given] following `patterns` plus `constants` in one window.

    `patterns` float32 [given, positions, positions], `constants` float32 [given, head width]. Position 0 is
    left alone.
    """

    heads: Tensor
    patterns: Tensor
    constants: Tensor

    def __call__(self, block: Block, hidden: Tensor) -> Tensor:
        """`hidden` [1, positions, width] behind the attention; differentiable."""
        q, k, v = block.projected(block.normed(hidden, 0))
        own = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        made = self.patterns @ v[0, self.heads] + self.constants[:, None]
        kept = own[0, self.heads, :1]
        rows = torch.cat([kept, made[:, 1:].to(kept.dtype)], 1)
        heads = own.index_copy(1, self.heads, rows[None])
        return hidden + block.linear("attn_output", heads.transpose(1, 2).flatten(2))


def attentions(
    window: Window, edits: Sequence[Replace], constants: Constants, device: torch.device
) -> dict[int, Injected]:
    """By layer, for `Network.states`."""
    return {
        layer: Injected(
            torch.tensor([edit.head for edit in own], device=device),
            torch.stack([_pattern(window, edit) for edit in own]).to(device),
            torch.stack([constants[edit] for edit in own]).to(device),
        )
        for layer, own in _by_layer(edits).items()
    }


def changes(window: Window, edits: Sequence[Replace], constants: Constants) -> dict[int, list[Change]]:
    """By layer, for `Trunk.run`."""
    return {
        layer: [Follow(edit.head, _pattern(window, edit), constants[edit]) for edit in own]
        for layer, own in _by_layer(edits).items()
    }


def constant(values: Sequence[float]) -> Tensor:
    """c_h from numbers in a file."""
    return torch.tensor(values, dtype=torch.float32)


def given(edits: Sequence[Replace], constants: Constants) -> list[GivenHead] | None:
    """For `Context.set_heads`; None where the engine, which has one kind of edge, cannot give them."""
    made = []
    for edit in edits:
        shares = {part.oracle: part.mass for part in edit.parts}
        if not shares.keys() <= {"name", "previous"}:
            return None
        values = tuple(constants[edit].tolist())
        made.append(
            GivenHead(
                edit.layer,
                edit.head,
                weight=shares.get("name", 0.0),
                previous=shares.get("previous", 0.0),
                constant=values,
            )
        )
    return made


def edges(window: Window, edits: Sequence[Replace]) -> list[tuple[int, Tokens]]:
    """For `Context.set_edges`, of heads that `given` can give: from every look-up to the name it means."""
    ways = {edit.given for edit in edits if any(part.oracle == "name" for part in edit.parts)}
    if not ways:
        return []
    (way,) = ways
    assert way != "mean"
    pointed = patterns.pointed(window, "name", way)
    return [(edge.at, tokens) for edge, tokens in zip(window.lookups, pointed, strict=True) if tokens]


def _by_layer(edits: Sequence[Replace]) -> dict[int, list[Replace]]:
    found: dict[int, list[Replace]] = {}
    for edit in edits:
        found.setdefault(edit.layer, []).append(edit)
    return found


def _pattern(window: Window, edit: Replace) -> Tensor:
    if edit.given == "mean" or edit.only:
        raise ValueError(f"head {edit.layer}.{edit.head} follows no pattern everywhere")
    return patterns.attention(window, edit.parts, edit.given)
