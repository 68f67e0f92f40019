"""What is not computed or read when heads follow patterns: from shapes, a token at a context length."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from engine.reference.architecture import Architecture

_KEY_BYTES = 2  # f16


@dataclass(frozen=True)
class Saving:
    """Of one token: floating point operations and bytes of keys, and their shares of the whole."""

    flops: float
    flops_share: float
    key_bytes: float
    kv_share: float
    groups: int


def of(model: Architecture, parameters: int, injected: Collection[tuple[int, int]], context: int) -> Saving:
    """`injected` (layer, head) need no query, scores and sums; keys go only where a whole group is injected.

    `parameters` are those of the linear layers and the output layer, two operations each.
    """
    size = model.heads // model.kv_heads
    a_head = 2 * model.width * model.head_width + 4 * model.head_width * context
    whole = [
        (layer, group)
        for layer in range(model.layers)
        for group in range(model.kv_heads)
        if all((layer, group * size + one) in injected for one in range(size))
    ]
    a_key = 2 * model.width * model.head_width
    flops = len(injected) * a_head + len(whole) * a_key
    total = 2 * parameters + 4 * model.layers * model.heads * model.head_width * context
    key_bytes = len(whole) * model.head_width * _KEY_BYTES * context
    kv_bytes = 2 * model.layers * model.kv_heads * model.head_width * _KEY_BYTES * context
    return Saving(flops, flops / total, key_bytes, key_bytes / kv_bytes, len(whole))
