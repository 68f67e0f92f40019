"""An adapted model in llama.cpp: the adapter loaded, its heads given, the same tokens scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.heads.bench import targets
from engine.heads.windows import Tokens, Window
from engine.runtime.adapter import Adapter
from engine.runtime.context import Context
from engine.runtime.extension import HEADS
from engine.runtime.given import GivenHead
from engine.runtime.llama import Model
from engine.runtime.threads import default_threads
from engine.studies import statistics


@dataclass(frozen=True)
class Given:
    """Heads of an arm, the edges of each window by its digest, and the adapter, if any."""

    heads: Sequence[GivenHead]
    edges: Mapping[str, Sequence[tuple[int, Tokens]]]
    adapter: Path | None


def nll(path: Path, windows: Sequence[Window], given: Given | None) -> dict[str, list[float]]:
    """NLL in nats of each window's targets (bench.targets), by digest; none where heads cannot be given."""
    longest = max(len(window.tokens) for window in windows)
    model = Model(path)
    context = None
    try:
        if given is not None and given.adapter is not None:
            model.adapter = Adapter(model, given.adapter)
        context = Context(
            model, context_tokens=longest + 1, batch_tokens=longest, threads=default_threads(),
            outputs=longest, features=(HEADS,),
        )  # fmt: skip
        if given is not None:
            if HEADS not in context.features:
                return {}
            context.set_heads(given.heads)
        return {window.digest: _scored(context, window, given) for window in windows}
    finally:
        if context is not None:
            context.close()
        model.close()


def _scored(context: Context, window: Window, given: Given | None) -> list[float]:
    context.clear()
    if given is not None:
        context.set_edges(given.edges[window.digest])
    context.decode(window.tokens, 0, outputs="all")
    at = targets(window).at
    rows = context.logits_rows()[[place - 1 for place in at]]
    found = statistics.surprise(rows, statistics.log_totals(rows), [window.tokens[place] for place in at])
    return [round(float(one), 4) for one in found]
