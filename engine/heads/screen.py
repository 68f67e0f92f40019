"""What every head looks at: mean attention on the places a program would point at, and on controls."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor

from engine.heads.trunk import Trunk
from engine.heads.windows import Edge, Tokens, Window

# A sink is judged where there is something else to look at.
_FROM = 8
# name, after, value, last: what oracles point at. distant, stale, elsewhere: controls; the last two are means
# over the tokens they name, as there can be several. stale_own is the right definition where a stale one is.
_ON: dict[str, Callable[[Edge], Tokens]] = {
    "name": lambda edge: edge.name[-1:],
    "after": lambda edge: edge.after,
    "value": lambda edge: edge.value,
    "last": lambda edge: edge.last[-1:],
    "last_after": lambda edge: (min(edge.last[-1] + 1, edge.at),),
    "distant": lambda edge: (edge.distant,) if edge.distant > 0 else (),
    "stale": lambda edge: edge.stale,
    "stale_own": lambda edge: edge.name[-1:] if edge.stale else (),
    "elsewhere": lambda edge: edge.elsewhere,
}
_MEANS = {"stale", "elsewhere"}
METRICS = ("previous", "sink", *_ON)
Found = Mapping[str, Sequence[object]]


def window(
    trunk: Trunk, states: Sequence[Tensor], window: Window
) -> dict[str, tuple[int, list[list[float]]]]:
    """By metric: how many places it is a mean over, and the mean of every head, [layers][heads].

    `states` are those of `trunk` for the window.
    """
    sums: dict[str, list[list[float]]] = {metric: [] for metric in METRICS}
    masks = {metric: _mask(window, metric) for metric in _ON}
    counts = {metric: int((mask.sum(1) > 0).sum()) for metric, mask in masks.items()}
    counts |= {"previous": len(window.tokens) - 2, "sink": len(window.tokens) - _FROM}
    with torch.no_grad():
        for layer in range(len(trunk.blocks)):
            maps = trunk.view(layer, states[layer])[0].attentions()
            sums["previous"].append(maps.diagonal(-1, 1, 2)[:, 1:].mean(1).tolist())
            sums["sink"].append(maps[:, _FROM:, 0].mean(1).tolist())
            rows = maps[:, [edge.at for edge in window.edges]]
            for metric, mask in masks.items():
                sums[metric].append(((rows * mask).sum((1, 2)) / max(counts[metric], 1)).tolist())
    return {metric: (counts[metric], sums[metric]) for metric in METRICS}


def _mask(window: Window, metric: str) -> Tensor:
    """float32 [edges, positions]."""
    found = torch.zeros(len(window.edges), len(window.tokens))
    for row, edge in enumerate(window.edges):
        tokens = _ON[metric](edge)
        if tokens:
            found[row, list(tokens)] = 1 / len(tokens) if metric in _MEANS else 1.0
    return found


def merged(parts: Iterable[Mapping[str, tuple[int, list[list[float]]]]]) -> dict[str, Tensor]:
    """Windows' results as one: float64 [layers, heads] by metric, nan where nothing was there to look at."""
    found: dict[str, Tensor] = {}
    for metric in METRICS:
        total, weight = torch.zeros(()), 0
        for count, means in (part[metric] for part in parts if metric in part):
            total, weight = total + count * torch.tensor(means, dtype=torch.float64), weight + count
        found[metric] = total / weight if weight else torch.full(total.shape, torch.nan)
    return found
