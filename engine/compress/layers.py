"""A model compressed layer by layer, on activations of what is compressed already, and judged at the end."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torch import Tensor

from engine.compress import block, recover
from engine.compress.adapter import Pair
from engine.compress.export import Changed
from engine.compress.packing import pack, unpack
from engine.compress.quality import Quality, compare
from engine.compress.recover import Recovery
from engine.compress.solver import Method
from engine.compress.tokens import Data
from engine.compress.work import Work
from engine.formats import Grid
from engine.formats.dense import Dense
from engine.formats.s24 import Sparse
from engine.reference import architecture, forward
from engine.reference.architecture import EMBEDDING, OUTPUT, OUTPUT_NORM
from engine.reference.source import Source

if TYPE_CHECKING:
    from engine.studies.kv_reuse import Progress


@dataclass(frozen=True)
class Recipe:
    """`grids` by tensor name (`blk.3.ffn_up.weight`); what is not named stays as it is."""

    method: Method
    grids: Mapping[str, Grid]
    recovery: Recovery | None = None

    @property
    def identity(self) -> dict[str, Any]:
        """What the result depends on, besides model and calibration."""
        kinds = {name: grid.name for name, grid in self.grids.items()}
        return {"method": self.method, "grids": kinds, "recovery": str(self.recovery), "solver": 1}


@dataclass
class Outcome:
    """The changed tensors by name, and the quality by kind of text."""

    changed: dict[str, Changed] = field(default_factory=dict)
    quality: dict[str, Quality] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass
class _Streams:
    """Hidden states [sequences, positions, width] before a block, of the model as shipped and as compressed.

    `taught`, calibration through the shipped model, is what recovery aims at; None without.
    """

    judged_before: Tensor
    judged: Tensor
    calibration: Tensor
    taught: Tensor | None


def memory_bytes(source: Source, data: Data, recovery: Recovery | None) -> int:
    """About the most that `compress` holds at once: torch, activations, a block, its moments, logits."""
    found = architecture.of(source)
    shapes = [source.shape(f"blk.0.{name}.weight") for name in architecture.LINEARS]
    linears = sum(rows * columns for rows, columns in shapes)
    widest = max(columns for _, columns in shapes)
    hidden = 2 * int(data.held_out.numel()) + (5 if recovery else 2) * int(data.calibration.numel())
    block_bytes = linears * 4 * (12 if recovery else 3) + 6 * 8 * widest**2
    head_bytes = (3 * found.width + 6 * forward.LOGIT_ROWS) * 4 * found.vocabulary
    return (500 << 20) + 2 * hidden * found.width * 4 + max(block_bytes, head_bytes)


def compress(source: Source, data: Data, recipe: Recipe, work: Work, progress: Progress) -> Outcome:
    """Compress `source` after `recipe`, one step of `progress` a layer.

    Layers that `work` holds are taken from there. Raises ModelUnsupported.
    """
    started = time.monotonic()
    found, outcome = architecture.of(source), Outcome(_outside(source, recipe))
    turn = forward.rotation(source, found, data.calibration.shape[1])
    streams = _start(source, data, recipe, outcome)
    for at in range(found.layers):
        layer = forward.Block(source, found, at, turn)
        fresh = _layer(layer, streams, recipe, work, outcome)
        progress.step(f"layer {at}", fresh=fresh)
    outcome.quality = _judge(source, data, streams, outcome.changed)
    outcome.seconds = time.monotonic() - started
    return outcome


def _outside(source: Source, recipe: Recipe) -> dict[str, Changed]:
    """Embedding and output layer: rounded, as nothing behind them can make up for it."""
    found = {}
    for name, grid in recipe.grids.items():
        if not name.startswith("blk."):
            assert isinstance(grid, Dense | Sparse)
            found[name] = Changed(grid, grid.encode(source.tensor(name).numpy()))
    return found


def _start(source: Source, data: Data, recipe: Recipe, outcome: Outcome) -> _Streams:
    shipped = source.tensor(EMBEDDING)
    made = unpack(*_pair(outcome.changed[EMBEDDING])) if EMBEDDING in outcome.changed else shipped
    return _Streams(
        judged_before=forward.embed(shipped, data.held_out),
        judged=forward.embed(made, data.held_out),
        calibration=forward.embed(made, data.calibration),
        taught=forward.embed(shipped, data.calibration) if recipe.recovery else None,
    )


def _layer(layer: forward.Block, streams: _Streams, recipe: Recipe, work: Work, outcome: Outcome) -> bool:
    """Compress one block, or take it from `work`, and move the streams behind it. Whether it was solved."""
    short = {f"blk.{layer.layer}.{name}.weight": name for name in layer.weights}
    grids = {short[name]: grid for name, grid in recipe.grids.items() if name in short}
    taught = streams.taught
    streams.judged_before = layer(streams.judged_before)
    streams.taught = None if taught is None else layer(taught)
    tensors = work.load(f"layer-{layer.layer}") if grids else {}
    fresh = tensors is None
    if tensors is None:
        tensors = _solved(layer, streams.calibration, taught, recipe, grids)
        work.save(f"layer-{layer.layer}", tensors)
    for name, entry in tensors.items():
        layer.weights[short[name]] = unpack(*_pair(entry))
    outcome.changed |= tensors
    streams.judged, streams.calibration = layer(streams.judged), layer(streams.calibration)
    return fresh


def _solved(
    layer: forward.Block, inputs: Tensor, taught: Tensor | None, recipe: Recipe, grids: Mapping[str, Grid]
) -> dict[str, Changed]:
    shipped = dict(layer.weights)
    solved = block.compress(layer, inputs, grids, recipe.method)
    if recipe.recovery is not None and taught is not None:
        solved = recover.blocks(layer, shipped, solved, inputs, taught, recipe.recovery)
    return {f"blk.{layer.layer}.{name}.weight": Changed(s.grid, pack(s)) for name, s in solved.items()}


def judge(
    source: Source, data: Data, changed: Mapping[str, Changed], added: Mapping[str, Pair] | None = None
) -> dict[str, Quality]:
    """The quality by kind of text of `source` with `changed` tensors and `added` to linear layers."""
    found, added = architecture.of(source), added or {}
    turn = forward.rotation(source, found, data.held_out.shape[1])
    streams = _start(source, data, Recipe("sparsegpt", {}), Outcome(dict(changed)))
    for at in range(found.layers):
        layer = forward.Block(source, found, at, turn)
        streams.judged_before = layer(streams.judged_before)
        for end, shipped in layer.tensors().items():
            name = f"blk.{at}.{end}"
            value = unpack(*_pair(changed[name])).reshape(shipped.shape) if name in changed else shipped
            layer.put(end, value + added[name].product if name in added else value)
        streams.judged = layer(streams.judged)
    return _judge(source, data, streams, changed)


def _judge(
    source: Source, data: Data, streams: _Streams, changed: Mapping[str, Changed]
) -> dict[str, Quality]:
    before = forward.Head.of(source, architecture.of(source))
    output = OUTPUT if OUTPUT in source else EMBEDDING
    weight = unpack(*_pair(changed[output])) if output in changed else before.weight
    norm = unpack(*_pair(changed[OUTPUT_NORM])).reshape(-1) if OUTPUT_NORM in changed else before.norm
    after = forward.Head(norm, weight, before.epsilon)
    count = len(data.text)
    parts = {"text": (data.text, slice(count)), "code": (data.code, slice(count, None))}
    return {
        kind: compare((before, after), tokens, streams.judged_before[rows], streams.judged[rows])
        for kind, (tokens, rows) in parts.items()
    }


def _pair(entry: Changed) -> tuple[Grid, Any]:
    return entry.grid, entry.data
