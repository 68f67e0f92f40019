"""How far one distribution over tokens is from another, and how sure a mean is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
DRAWS = 2000
_CONFIDENCE = 0.95


class Reference:
    """Full attention's distributions over the next token, one row a position of the target."""

    def __init__(self, logits: NDArray[np.float32]) -> None:
        self.best: NDArray[np.int64] = logits.argmax(axis=1)
        logs = _log_softmax(logits)
        self._chances = np.exp(logs)
        # KL(p || q) = sum p log p - sum p (q's logits) + log of q's total: one exponential a comparison.
        self._entropy = np.einsum("ij,ij->i", self._chances, logs, dtype=np.float64)

    def divergence(self, logits: NDArray[np.float32], totals: Floats) -> Floats:
        """KL(full || other) of each row in nats, of float32 [positions, vocabulary] and their log_totals."""
        cross = np.einsum("ij,ij->i", self._chances, logits, dtype=np.float64)
        apart: Floats = np.maximum(self._entropy - cross + totals, 0.0)
        return apart


@dataclass(frozen=True)
class Interval:
    """A mean with its 95 % bootstrap interval, over `count` targets."""

    mean: float
    low: float
    high: float
    count: int


def log_totals(logits: NDArray[np.float32]) -> Floats:
    """log(sum(exp(row))) of each row."""
    top = logits.max(axis=1)
    total = np.exp(logits - top[:, None]).sum(axis=1, dtype=np.float64)
    found: Floats = top.astype(np.float64) + np.log(total)
    return found


def surprise(logits: NDArray[np.float32], totals: Floats, tokens: Sequence[int]) -> Floats:
    """Negative log-probability in nats of `tokens[i]` by row i; `totals` are the rows' log_totals."""
    rows = np.arange(len(tokens))
    found: Floats = totals - logits[rows, np.asarray(tokens)].astype(np.float64)
    return found


def bootstrap(values: Sequence[float], *, seed: int, weights: Sequence[float] | None = None) -> Interval:
    """The (weighted) mean over targets and its percentile interval from DRAWS resamples of the targets."""
    return ratio(
        [value * weight for value, weight in zip(values, weights or [1.0] * len(values), strict=True)],
        list(weights or [1.0] * len(values)),
        seed=seed,
    )


def ratio(above: Sequence[float], below: Sequence[float], *, seed: int) -> Interval:
    """sum(above) / sum(below), targets resampled as pairs; nan where nothing is below."""
    top, bottom = np.asarray(above, np.float64), np.asarray(below, np.float64)
    count = len(top)
    if not count or not bottom.sum():
        return Interval(float("nan"), float("nan"), float("nan"), count)
    drawn = np.random.default_rng(seed).integers(0, count, (DRAWS, count))
    totals = bottom[drawn].sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = top[drawn].sum(axis=1) / totals
    tail = (1 - _CONFIDENCE) / 2 * 100
    low, high = np.nanpercentile(found, [tail, 100 - tail])
    return Interval(float(top.sum() / bottom.sum()), float(low), float(high), count)


def similarity(left: str, right: str) -> float:
    """1 - Levenshtein distance / length of the longer text; 1 for two empty ones."""
    row = list(range(len(right) + 1))
    for i, a in enumerate(left, 1):
        above, row[0] = row[0], i
        for j, b in enumerate(right, 1):
            above, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, above + (a != b))
    return 1 - row[-1] / max(len(left), len(right), 1)


def _log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    shifted: NDArray[np.float32] = logits - logits.max(axis=1, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(axis=1, keepdims=True, dtype=np.float64)).astype(np.float32)
    return shifted
