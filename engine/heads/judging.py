"""What a model makes of windows with heads injected, with an adapter, and without the attention of layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from engine.compress.adapter import Pair
from engine.heads import injected
from engine.heads.bench import Replace, targets
from engine.heads.injected import Constants
from engine.heads.patterns import Follow
from engine.heads.trunk import Change, Trunk, View
from engine.heads.windows import Window

_LOGIT_ROWS = 96
Layers = Mapping[int, Tensor]


@dataclass(frozen=True)
class State:
    """A model changed: `edits` injected, `pairs` added, and by layer the mean output its attention becomes.

    Means are float32 [heads, head width].
    """

    edits: Sequence[Replace] = ()
    constants: Constants = field(default_factory=dict)
    pairs: Mapping[str, Pair] = field(default_factory=dict)
    without: Layers = field(default_factory=dict)


@dataclass(frozen=True)
class Judged:
    """Of each of a window's targets: NLL in nats, whether it was the likeliest, KL(unchanged || changed)."""

    nll: Tensor
    right: Tensor
    kl: Tensor


class Judge:
    """A model in float32. An adapter stays merged until another one is asked for."""

    def __init__(self, trunk: Trunk) -> None:
        self._trunk = trunk
        self._pairs: Mapping[str, Pair] = {}
        self._own: dict[str, Tensor] = {}
        self._unchanged: dict[str, tuple[Tensor, Tensor]] = {}

    def judge(self, window: Window, state: State) -> Judged:
        """The targets of `window` (bench.targets)."""
        embedded, before = self._of_unchanged(window)
        self._adapt(state.pairs)
        with torch.no_grad():
            hidden = self._trunk.run(embedded, _changes(window, state))
            return self._compared(window, before, hidden)

    def means(self, windows: Sequence[Window], layers: Sequence[int], state: State) -> dict[int, Tensor]:
        """The mean output of each head of `layers` behind position 0, float32 [heads, head width]."""
        found: dict[int, list[Tensor]] = {layer: [] for layer in layers}
        for window in windows:
            embedded, _ = self._of_unchanged(window)
            self._adapt(state.pairs)
            changes = _changes(window, state)
            for layer in layers:
                changes[layer] = [*changes.get(layer, []), _noting(found[layer])]
            with torch.no_grad():
                self._trunk.run(embedded, changes)
        return {layer: torch.cat(outputs).mean(0) for layer, outputs in found.items()}

    def _of_unchanged(self, window: Window) -> tuple[Tensor, Tensor]:
        """What the first block reads, and what comes out of the last of the unchanged model."""
        if window.digest not in self._unchanged:
            self._adapt({})
            states = self._trunk.states(window.tokens)
            self._unchanged[window.digest] = states[0], states[-1]
        return self._unchanged[window.digest]

    def _compared(self, window: Window, before: Tensor, after: Tensor) -> Judged:
        at = torch.tensor(targets(window).at)
        wanted = torch.tensor(window.tokens)[at]
        nll, right, kl = [], [], []
        for rows in torch.arange(len(at)).split(_LOGIT_ROWS):
            p, q = (self._trunk.logits(found[0, at[rows] - 1]).log_softmax(-1) for found in (before, after))
            nll.append(-q.gather(1, wanted[rows, None])[:, 0])
            right.append(q.argmax(1) == wanted[rows])
            kl.append((p.exp() * (p - q)).sum(1))
        return Judged(torch.cat(nll), torch.cat(right), torch.cat(kl))

    def _adapt(self, pairs: Mapping[str, Pair]) -> None:
        if pairs is self._pairs or not (pairs or self._pairs):
            return
        for name, tensor in self._own.items():
            self._put(name, tensor)
        self._own = {name: self._weight(name) for name in pairs}
        for name, tensor in self._own.items():
            self._put(name, tensor + pairs[name].product)
        self._pairs = pairs

    def _weight(self, name: str) -> Tensor:
        _, layer, end = name.split(".", 2)
        return self._trunk.blocks[int(layer)].tensors()[end]

    def _put(self, name: str, tensor: Tensor) -> None:
        _, layer, end = name.split(".", 2)
        self._trunk.blocks[int(layer)].put(end, tensor)


def _changes(window: Window, state: State) -> dict[int, list[Change]]:
    found = injected.changes(window, state.edits, state.constants)
    for layer, means in state.without.items():
        found[layer] = [Follow(head, None, mean) for head, mean in enumerate(means)]
    return found


def _noting(found: list[Tensor]) -> Change:
    """A change that changes nothing, and keeps what the heads put out."""

    def note(view: View, heads: Tensor) -> Tensor:
        found.append(heads[1:])
        return heads

    return note
