"""Trained values back on their grid, layer by layer, so that columns make up for what others lose."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from engine.compress import packing
from engine.compress.block import compress
from engine.compress.export import Changed
from engine.compress.trained import Kept, Trained
from engine.compress.work import Work
from engine.reference import architecture, forward
from engine.reference.architecture import EMBEDDING, OUTPUT_NORM
from engine.reference.source import Source

if TYPE_CHECKING:
    from engine.studies.kv_reuse import Progress


def rounded(
    source: Source,
    changed: Mapping[str, Changed],
    parts: Mapping[str, Trained],
    calibration: Tensor,
    kept: tuple[Work, str],
    progress: Progress,
) -> dict[str, Changed]:
    """What `parts` are to be stored as, on activations of what is rounded already.

    Values that were trained are rounded on their mask, by GPTQ; everything else is stored as it is. `kept` is
    where finished layers are, and a key for them.
    """
    found = architecture.of(source)
    turn = forward.rotation(source, found, calibration.shape[1])
    shipped = source.tensor(EMBEDDING)
    entry = changed.get(EMBEDDING)
    table = shipped if entry is None else packing.unpack(entry.grid, entry.data)
    hidden = forward.embed(table, calibration)
    done: dict[str, Changed] = {}
    work, key = kept
    progress.begin(found.layers)
    for at in range(found.layers):
        block = forward.Block(source, found, at, turn)
        mine = {name: part for name, part in parts.items() if name.startswith(f"blk.{at}.")}
        name = f"round-{key}-{at}"
        tensors = work.load(name)
        if fresh := tensors is None:
            tensors = _block(block, mine, hidden)
            work.save(name, tensors)
        for tensor, entry in tensors.items():
            end = tensor.split(".", 2)[2]
            block.put(end, packing.unpack(entry.grid, entry.data).reshape(block.tensors()[end].shape))
        done |= tensors
        hidden = block(hidden)
        progress.step(f"layer {at} rounded", fresh=fresh)
    if OUTPUT_NORM in parts:
        done[OUTPUT_NORM] = stored(parts[OUTPUT_NORM])
    return done


def stored(part: Trained) -> Changed:
    """As a file has it; values go to the nearest of their grid."""
    if isinstance(part, Kept):
        solved = part.solved()
        return Changed(solved.grid, packing.pack(solved))
    values = part.weight(torch.float32, rounded=True).detach().cpu()
    return Changed(packing.VECTOR, packing.pack_vector(values))


def _block(block: forward.Block, parts: Mapping[str, Trained], hidden: Tensor) -> dict[str, Changed]:
    grids, masks, found = {}, {}, {}
    for name, part in parts.items():
        end = name.split(".", 2)[2]
        block.put(end, part.weight(torch.float32, rounded=False).detach().cpu())
        if isinstance(part, Kept) and "values" in part.parameters:
            grids[end.removesuffix(".weight")] = part.grid
            masks[end.removesuffix(".weight")] = part.solved().kept
        else:
            found[name] = stored(part)
    for kind, solved in compress(block, hidden, grids, "sparsegpt", masks).items():
        found[f"blk.{block.layer}.{kind}.weight"] = Changed(solved.grid, packing.pack(solved))
    return found
