"""Perplexity in llama.cpp, before and after, with the file as written: what the simulation cannot promise."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
from torch import Tensor

from engine.compress.tokens import SEQUENCE_TOKENS, Data
from engine.errors import EngineError, ModelError
from engine.runtime.adapter import Adapter
from engine.runtime.context import Context
from engine.runtime.llama import Model
from engine.runtime.threads import default_threads

SEQUENCES = 2  # of each kind of text: enough to see that the file means what was simulated
_BATCH_TOKENS = 128


def perplexities(
    before: Path, after: Path, data: Data, narrate: Callable[[str], None], *, adapter: Path | None = None
) -> dict[str, tuple[float, float]] | None:
    """By kind of text, of the first SEQUENCES of each; None, and a line why, where `after` does not run.

    `after` runs with `adapter`, if there is one.
    """
    kinds = {"text": data.text[:SEQUENCES], "code": data.code[:SEQUENCES]}
    try:
        measured = [_measured(after, kinds, adapter), _measured(before, kinds, None)]
    except (ModelError, EngineError) as error:
        narrate(f"not measured in llama.cpp, only simulated: {error.message}")
        return None
    return {kind: (measured[1][kind], measured[0][kind]) for kind in kinds}


def _measured(path: Path, kinds: dict[str, Tensor], beside: Path | None) -> dict[str, float]:
    model = Model(path)
    try:
        adapter = None if beside is None else Adapter(model, beside)
        threads = default_threads()
        context = Context(
            model,
            context_tokens=SEQUENCE_TOKENS,
            batch_tokens=_BATCH_TOKENS,
            threads=threads,
            outputs=_BATCH_TOKENS,
        )
        try:
            if adapter is not None:
                adapter.attach(context)
            return {kind: _perplexity(context, tokens) for kind, tokens in kinds.items()}
        finally:
            context.close()
    finally:
        model.close()


def _perplexity(context: Context, sequences: Tensor) -> float:
    """Over all tokens of each sequence but its first."""
    total, count = 0.0, 0
    for sequence in sequences.tolist():
        context.clear()
        for start in range(0, len(sequence), _BATCH_TOKENS):
            batch = sequence[start : start + _BATCH_TOKENS]
            context.decode(batch, start, outputs="all")
            following = sequence[start + 1 : start + 1 + len(batch)]
            rows = context.logits_rows()[: len(following)].astype(np.float64)
            top = rows.max(axis=1)
            totals = top + np.log(np.exp(rows - top[:, None]).sum(axis=1))
            total += float((totals - rows[np.arange(len(following)), following]).sum())
            count += len(following)
    return math.exp(min(total / max(count, 1), 700.0))
