"""A whole model's forward pass in which the outputs of single heads can be seen and replaced.

Differentiable wherever the replacements are; without any it is engine.reference.forward to the bit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from engine.reference import architecture, forward
from engine.reference.architecture import EMBEDDING
from engine.reference.source import Source

_LOGIT_ROWS = 96


@dataclass(eq=False)
class View:
    """What the heads of a block read: projections are computed when asked for."""

    block: forward.Block
    inputs: Tensor

    @cached_property
    def _projected(self) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = self.block.projected(self.inputs)
        return q[0], k[0], v[0]

    @property
    def values(self) -> Tensor:
        """[heads, positions, head width]; a group's heads have the same."""
        return self._projected[2]

    def attention(self, head: int) -> Tensor:
        """The head's own attention, [positions, positions], rows sum to 1."""
        q, k, _ = (part[head] for part in self._projected)
        scores = (q @ k.T) * q.shape[-1] ** -0.5
        return scores.masked_fill(_ahead(len(scores)), -torch.inf).softmax(-1)

    def attentions(self) -> Tensor:
        """All heads' attention, [heads, positions, positions]."""
        q, k, _ = self._projected
        scores = (q @ k.transpose(1, 2)) * q.shape[-1] ** -0.5
        return scores.masked_fill(_ahead(scores.shape[-1]), -torch.inf).softmax(-1)


def _ahead(count: int) -> Tensor:
    return torch.ones(count, count, dtype=torch.bool).triu(1)


# From a view and all heads' outputs [positions, heads, head width] to what the outputs shall be.
Change = Callable[[View, Tensor], Tensor]
Changes = Mapping[int, Sequence[Change]]


@dataclass(frozen=True)
class Score:
    """Of each scored token: its negative log-probability in nats, and whether it was the likeliest."""

    nll: Tensor
    right: Tensor


def threads() -> int:
    """How many PyTorch computes with."""
    return int(torch.get_num_threads())


class Trunk:
    """The model of `source` for at most `positions` tokens, all weights held as float32."""

    def __init__(self, source: Source, positions: int) -> None:
        self.architecture = architecture.of(source)
        turn = forward.rotation(source, self.architecture, positions)
        layers = range(self.architecture.layers)
        self.blocks = [forward.Block(source, self.architecture, layer, turn) for layer in layers]
        self._embedding = source.tensor(EMBEDDING)
        self._head = forward.Head.of(source, self.architecture)
        self._logits = torch.empty(0)

    def states(self, tokens: Sequence[int]) -> list[Tensor]:
        """What each block reads, and what comes out of the last: float32 [1, positions, width] each."""
        with torch.no_grad():
            states = [forward.embed(self._embedding, torch.tensor([list(tokens)]))]
            for layer in range(len(self.blocks)):
                states.append(self.step(layer, states[-1], ()))
        return states

    def run(self, hidden: Tensor, changes: Changes, *, first: int = 0) -> Tensor:
        """`hidden` [1, positions, width], what block `first` reads, behind all blocks, with `changes`."""
        for layer in range(first, len(self.blocks)):
            hidden = self.step(layer, hidden, changes.get(layer, ()))
        return hidden

    def step(self, layer: int, hidden: Tensor, changes: Sequence[Change]) -> Tensor:
        """`hidden` [1, positions, width] behind one block."""
        block = self.blocks[layer]
        if not changes:
            return block.mlp(block.attention(hidden))
        view, heads = self.view(layer, hidden)
        for change in changes:
            heads = change(view, heads)
        return block.mlp(hidden + block.linear("attn_output", heads.flatten(1)[None]))

    def view(self, layer: int, hidden: Tensor) -> tuple[View, Tensor]:
        """What block `layer`'s heads see in `hidden`, and their outputs [positions, heads, head width]."""
        block = self.blocks[layer]
        inputs = block.normed(hidden, 0)
        heads = block.mixed(inputs)[0].unflatten(-1, (self.architecture.heads, -1))
        return View(block, inputs), heads

    def logits(self, hidden: Tensor) -> Tensor:
        """float32 [..., vocabulary]; differentiable, unlike the scores."""
        head = self._head
        return torch.nn.functional.linear(forward.rms_norm(hidden, head.norm, head.epsilon), head.weight)

    def score(self, hidden: Tensor, tokens: Sequence[int], targets: Sequence[int]) -> Score:
        """How well tokens[i], i in `targets` (from 1), are predicted by `hidden` at i - 1."""
        head = self._head
        if not len(self._logits):  # one buffer: fresh pages for every product took most of the time
            self._logits = torch.empty(_LOGIT_ROWS, head.weight.shape[0])
        nll, right = [], []
        with torch.no_grad():
            for start in range(0, len(targets), _LOGIT_ROWS):
                at = torch.tensor(list(targets[start : start + _LOGIT_ROWS]))
                wanted = torch.tensor([tokens[i] for i in at])
                rows = forward.rms_norm(hidden[0, at - 1], head.norm, head.epsilon)
                logits = self._logits[: len(rows)]
                torch.mm(rows, head.weight.T, out=logits)
                own = logits.gather(1, wanted[:, None])[:, 0]
                most, best = logits.max(1)
                total = logits.sub_(most[:, None]).exp_().sum(1).log() + most
                nll.append(total - own)
                right.append(best == wanted)
        return Score(torch.cat(nll), torch.cat(right))
