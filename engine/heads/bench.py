"""Heads replaced, and what becomes of the predictions: constants fitted on some windows, judged on others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from engine.heads import patterns
from engine.heads.patterns import Boost, Follow, Given, Oracle, Part
from engine.heads.trunk import Change, Score, Trunk
from engine.heads.windows import Window

# Of the tokens that are no identifiers and do not follow a use, every third is scored, with three times the
# weight: the output layer is a third of all work.
STRIDE = 3


@dataclass(frozen=True)
class Replace:
    """A head made to follow `parts` as `given`. `fitted` adds c_h; "mean" is a constant and nothing else.

    With `only` it is replaced where there is something to look up, and itself everywhere else.
    """

    layer: int
    head: int
    parts: tuple[Part, ...]
    given: Given | Literal["mean"] = "exact"
    fitted: bool = True
    only: bool = False


@dataclass(frozen=True)
class Reweigh:
    """A head that keeps its attention, `factor` times as much of it on what `oracle` and `given` point at."""

    layer: int
    head: int
    oracle: Oracle
    given: Given | Literal["scope"]
    factor: float


Edit = Replace | Reweigh


@dataclass(frozen=True)
class Targets:
    """Which tokens of a window are scored. Classes: 0 first token of a use with an edge, 1 the use's others,
    2 another identifier, 3 right behind a use, 4 anything else.
    """

    at: tuple[int, ...]
    kind: tuple[int, ...]
    weight: tuple[int, ...]
    line: tuple[int, ...]


def targets(window: Window) -> Targets:
    """Those of a window."""
    kinds = [4] * len(window.tokens)
    for _, end in window.uses:
        if end < len(kinds):
            kinds[end] = 3
    for first, end in window.words:
        kinds[first:end] = [2] * len(kinds[first:end])
    for first, end in window.uses:
        kinds[first:end] = [0] + [1] * (end - first - 1)
    others = [at for at in range(1, len(kinds)) if kinds[at] == 4][::STRIDE]
    scored = sorted([at for at in range(1, len(kinds)) if kinds[at] != 4] + others)
    weights = tuple(STRIDE if kinds[at] == 4 else 1 for at in scored)
    return Targets(
        tuple(scored), tuple(kinds[at] for at in scored), weights, tuple(window.lines[at] for at in scored)
    )


class Read:
    """A window and what every block of the model reads in it."""

    def __init__(self, trunk: Trunk, window: Window) -> None:
        self._trunk, self.window = trunk, window

    @cached_property
    def states(self) -> list[Tensor]:
        """Those of the unchanged model."""
        return self._trunk.states(self.window.tokens)

    @cached_property
    def targets(self) -> Targets:
        """What is scored."""
        return targets(self.window)


class Bench:
    """One model: constants are fitted on `fitting` windows."""

    def __init__(self, trunk: Trunk, fitting: Sequence[Read]) -> None:
        self._trunk, self._fitting = trunk, fitting
        self._constants: dict[Replace, Tensor] = {}
        self._seen: tuple[int, list[tuple[Tensor, Tensor]]] = (-1, [])

    def score(self, read: Read, edits: Iterable[Edit]) -> Score:
        """The window's targets with `edits` in place: all of the model below the first stays as it was."""
        changes: dict[int, list[Change]] = {}
        for edit in edits:
            changes.setdefault(edit.layer, []).append(self._change(read.window, edit))
        first = min(changes, default=len(self._trunk.blocks))
        with torch.no_grad():
            hidden = self._trunk.run(read.states[first], changes, first=first)
        return self._trunk.score(hidden, read.window.tokens, read.targets.at)

    def constant(self, edit: Replace) -> Tensor:
        """c_h: what least squares adds to the pattern's output, its mean distance from the head's own."""
        if edit not in self._constants:
            apart = []
            for read, (values, heads) in zip(self._fitting, self._layer(edit.layer), strict=True):
                pattern = _attention(read.window, edit)
                made = 0.0 if pattern is None else pattern @ values[edit.head]
                rows = patterns.looked_up(read.window) if edit.only else slice(1, None)
                apart.append((heads[:, edit.head] - made)[rows])
            self._constants[edit] = torch.cat(apart).mean(0)
        return self._constants[edit]

    def fit(self, edits: Iterable[Edit]) -> None:
        """All constants of `edits` at once: what the heads of a layer put out is computed a single time."""
        fitted = {edit for edit in edits if isinstance(edit, Replace) and edit.fitted}
        for edit in sorted(fitted, key=lambda edit: (edit.layer, edit.head)):
            self.constant(edit)

    def size(self, edit: Replace) -> float:
        """|c_h| over the mean size of what the head puts out."""
        heads = torch.cat([heads[1:, edit.head] for _, heads in self._layer(edit.layer)])
        return float(self.constant(edit).norm() / heads.norm(dim=-1).mean())

    def _layer(self, layer: int) -> list[tuple[Tensor, Tensor]]:
        """Values and outputs of a layer's heads in the fitting windows; the last layer asked for is kept."""
        if self._seen[0] != layer:
            with torch.no_grad():
                views = [self._trunk.view(layer, read.states[layer]) for read in self._fitting]
                self._seen = layer, [(view.values, heads) for view, heads in views]
        return self._seen[1]

    def _change(self, window: Window, edit: Edit) -> Change:
        if isinstance(edit, Reweigh):
            return Boost(edit.head, patterns.chosen(window, edit.oracle, edit.given), edit.factor)
        width = self._trunk.architecture.head_width
        constant = self.constant(edit) if edit.fitted else torch.zeros(width)
        rows = patterns.looked_up(window) if edit.only else None
        return Follow(edit.head, _attention(window, edit), constant, rows)


def _attention(window: Window, edit: Replace) -> Tensor | None:
    return None if edit.given == "mean" else patterns.attention(window, edit.parts, edit.given)
