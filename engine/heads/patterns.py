"""Attention patterns that a program computes, and heads that follow them.

out_h(t) = sum_o a_o mean V[o(t)] + (1 - sum_o a_o) V[sink] + c_h, where o(t) is what oracle o points at (its
share goes to the sink where it points nowhere), the sink is position 0, and c_h makes up for the rest on
average. Position 0 itself is left alone: it sees only itself, and its state is what makes it a sink.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from engine.heads.trunk import View
from engine.heads.windows import Edge, Tokens, Window

Oracle = Literal["previous", "name", "after", "value"]
Given = Literal["exact", "last", "shuffled", "random"]
DEFINITION: tuple[Oracle, ...] = ("name", "after", "value")


@dataclass(frozen=True)
class Part:
    """A head's share `mass` of attention for what `oracle` points at."""

    oracle: Oracle
    mass: float


@dataclass(frozen=True, eq=False)
class Follow:
    """Head `head` follows `attention` [positions, positions] (rows of sum 1) plus `constant` [head width].

    Without `attention` its output is the constant alone; with `rows` [positions] only these are replaced.
    """

    head: int
    attention: Tensor | None
    constant: Tensor
    rows: Tensor | None = None

    def __call__(self, view: View, heads: Tensor) -> Tensor:
        if self.attention is None:
            made = self.constant.expand(len(heads), -1)
        else:
            made = self.attention @ view.values[self.head] + self.constant
        rows = torch.arange(1, len(heads)) if self.rows is None else self.rows
        found = heads.clone()
        found[rows, self.head] = made[rows]
        return found


@dataclass(frozen=True, eq=False)
class Boost:
    """Head `head`'s own attention with `factor` times the weight where `chosen`, renormalised.

    PASTA (arXiv:2311.02262) scales down everything else, which is the same.
    """

    head: int
    chosen: Tensor
    factor: float

    def __call__(self, view: View, heads: Tensor) -> Tensor:
        own = view.attention(self.head)
        weights = own * torch.where(self.chosen, self.factor, 1.0)
        found = heads.clone()
        found[:, self.head] = weights / weights.sum(-1, keepdim=True) @ view.values[self.head]
        return found


def attention(window: Window, parts: Sequence[Part], given: Given = "exact") -> Tensor:
    """The pattern of a head with `parts`, float32 [positions, positions]."""
    count = len(window.tokens)
    found = torch.zeros(count, count)
    for part in parts:
        if part.oracle == "previous":
            at = torch.arange(1, count)
            found[at, at - 1] += part.mass
            continue
        for edge, tokens in zip(window.lookups, pointed(window, part.oracle, given), strict=True):
            if tokens:
                found[edge.at, list(tokens)] += part.mass / len(tokens)
    found[:, 0] += 1 - found.sum(1)
    return found


def looked_up(window: Window) -> Tensor:
    """The positions at which there is something to look up."""
    return torch.tensor([edge.at for edge in window.lookups], dtype=torch.int64)


def chosen(window: Window, oracle: Oracle, given: Given | Literal["scope"]) -> Tensor:
    """Where to look, bool [positions, positions]; `scope`: at all local names in force, from everywhere."""
    count = len(window.tokens)
    found = torch.zeros(count, count, dtype=torch.bool)
    if given == "scope":
        for at, tokens in enumerate(window.visible):
            found[at, list(tokens)] = True
        return found
    for edge, tokens in zip(window.lookups, pointed(window, oracle, given), strict=True):
        found[edge.at, list(tokens)] = True
    return found


def pointed(window: Window, oracle: Oracle, given: Given) -> list[Tokens]:
    """What `oracle` points at for each look-up; the wrong one on purpose when `shuffled` or `random`."""
    edges, draw = window.lookups, random.Random(f"{given}:{window.name}")
    if given == "random":
        return [(draw.randrange(min(1, edge.at - 1), edge.at),) for edge in edges]
    if given == "last":
        return [_beside(edge, oracle) for edge in edges]
    own = [_OF[oracle](edge) for edge in edges]
    if given == "exact":
        return own
    return [_other(edge, own, edges, draw) for edge in edges]


def _beside(edge: Edge, oracle: Oracle) -> Tokens:
    """The same place at the name's last occurrence; a use has no value: the token after it stands for it."""
    last = edge.last[-1]
    return (last,) if oracle == "name" or last + 1 >= edge.at else (last + 1,)


def _other(edge: Edge, own: Sequence[Tokens], edges: Sequence[Edge], draw: random.Random) -> Tokens:
    found = [
        tokens
        for tokens, other in zip(own, edges, strict=True)
        if other.name != edge.name and tokens and max(tokens) < edge.at
    ]
    return draw.choice(found) if found else ()


_OF: dict[Oracle, Callable[[Edge], Tokens]] = {
    "name": lambda edge: edge.name[-1:],
    "after": lambda edge: edge.after,
    "value": lambda edge: edge.value,
}
