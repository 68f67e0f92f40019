"""Tokens one after another, as a suggestion is generated: files of a model in turn."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from engine.runtime.context import Context
from engine.runtime.llama import Model

_TOKENS = 12
_ROUNDS = 5


def token_ms(paths: Sequence[Path], *, threads: int) -> list[float]:
    """Milliseconds a token of each file, medians of interleaved rounds behind a short prompt."""
    models = [Model(path) for path in paths]
    contexts = [Context(model, context_tokens=256, batch_tokens=64, threads=threads) for model in models]
    took: list[list[float]] = [[] for _ in paths]
    try:
        for _ in range(_ROUNDS + 1):
            for context, times in zip(contexts, took, strict=True):
                times.append(_round(context))
    finally:
        for context in contexts:
            context.close()
        for model in models:
            model.close()
    return [median(times[1:]) for times in took]  # the first round reads the weights in


def _round(context: Context) -> float:
    context.clear()
    context.decode([100 + step for step in range(16)], 0)
    begun = time.perf_counter()
    for step in range(_TOKENS):
        context.decode([200 + step], 16 + step)
    return (time.perf_counter() - begun) * 1e3 / _TOKENS
