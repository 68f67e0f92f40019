"""Logits -> the next token: greedy, or sampled with a seed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.request import Request

Logits = NDArray[np.float32]


class Sampler:
    """Picks tokens for one request; the same request over the same logits picks the same tokens.

    `temperature` 0 takes the largest logit, ties the lowest id. Otherwise: the `top_k` largest (0: all), of
    those the fewest that hold `top_p` of the probability at this temperature, one drawn with `seed`
    (PCG64, one double a token).
    """

    def __init__(self, request: Request) -> None:
        self._temperature = request.temperature
        self._top_k = request.top_k
        self._top_p = request.top_p
        self._random = np.random.Generator(np.random.PCG64(abs(request.seed)))

    def pick(self, logits: Logits, *, allowed: NDArray[np.int64] | None = None) -> int:
        """The next token's id from `logits` [n_vocab]; `allowed` (ascending ids) restricts the choice.

        The array is not changed. A NaN is never picked unless everything is NaN.
        """
        scores = logits if allowed is None else logits[allowed]
        index = self._greedy(scores) if self._temperature <= 0 else self._sampled(scores)
        return index if allowed is None else int(allowed[index])

    def _greedy(self, scores: Logits) -> int:
        best = int(np.argmax(scores))
        if np.isnan(scores[best]):
            best = int(np.argmax(np.nan_to_num(scores, nan=-np.inf, posinf=np.inf, neginf=-np.inf)))
        return best

    def _sampled(self, scores: Logits) -> int:
        draw = self._random.random()
        order = _largest(scores, self._top_k)
        weights = _softmax(scores[order].astype(np.float64) / self._temperature)
        kept = int(np.searchsorted(np.cumsum(weights), self._top_p)) + 1
        cumulative = np.cumsum(weights[:kept])
        index = int(np.searchsorted(cumulative, draw * cumulative[-1], side="right"))
        return int(order[min(index, len(cumulative) - 1)])


def _largest(scores: Logits, count: int) -> NDArray[np.int64]:
    """Indices of the `count` largest scores, largest first, ties by lowest index (0: of all)."""
    if 0 < count < len(scores):
        candidates = _candidates(scores, count)
        return candidates[np.argsort(-scores[candidates], kind="stable")][:count]
    return np.argsort(-scores, kind="stable")


def _candidates(scores: Logits, count: int) -> NDArray[np.int64]:
    """Indices that include the `count` largest: all above a bound lowered until enough are.

    Cheaper than a partition of the whole vocabulary, because logits are peaked.
    """
    top, width = float(np.max(scores)), 1.0
    while np.isfinite(top) and width < 64:
        candidates = np.flatnonzero(scores >= top - width)
        if len(candidates) >= count:
            return candidates
        width *= 2
    return np.arange(len(scores))


def _softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    bound = np.finfo(np.float64).max / 4
    scores = np.nan_to_num(scores, nan=-bound, posinf=bound, neginf=-bound)
    weights: NDArray[np.float64] = np.exp(scores - scores.max())
    total: NDArray[np.float64] = weights / weights.sum()
    return total
