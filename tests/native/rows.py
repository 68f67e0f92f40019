"""Keys and values as numpy arrays, rotated the way RoPE's paper says; opened models and contexts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.runtime import extension
from engine.runtime.context import Context
from engine.runtime.llama import Model

FEATURES = (extension.LOOSE_POSITIONS, extension.MASK_BIAS, extension.KV_ROWS)

TEXT = Path(__file__).read_text(encoding="utf-8")


@contextmanager
def opened(path: Path, **options: Any) -> Iterator[tuple[Model, Context]]:
    """The model in the file and a context with every feature of this part on."""
    settings: dict[str, Any] = {"context_tokens": 1024, "batch_tokens": 256, "threads": 2, "sequences": 3}
    settings |= {"outputs": 256, "features": FEATURES}
    model = Model(path)
    context = Context(model, **(settings | options))
    try:
        yield model, context
    finally:
        context.close()
        model.close()


def split(context: Context, rows: NDArray[np.uint8]) -> list[tuple[np.ndarray, np.ndarray]]:
    """K [tokens, k_width] and V [tokens, v_width] of each layer, float16 views of f16 rows."""
    tokens = rows.nbytes // context.row_bytes()
    values, at, layers = rows.view(np.float16), 0, []
    for k_width, v_width in context.row_widths():
        ends = at + tokens * k_width, at + tokens * (k_width + v_width)
        layers.append(
            (values[at : ends[0]].reshape(tokens, -1), values[ends[0] : ends[1]].reshape(tokens, -1))
        )
        at = ends[1]
    return layers


def rotated(keys: np.ndarray, layer: extension.Layer, delta: int, factors: Any = 1.0) -> np.ndarray:
    """Keys [tokens, k_width] as if computed `delta` positions later, in float64 (arXiv:2104.09864)."""
    heads = keys.astype(np.float64).reshape(len(keys), -1, layer.k_head)
    pairs = np.arange(layer.n_rot // 2)
    angle = delta * layer.freq_scale * float(layer.freq_base) ** (-2.0 * pairs / layer.n_rot) / factors
    neox = layer.rope_type == 2
    first, second = (pairs, pairs + layer.n_rot // 2) if neox else (2 * pairs, 2 * pairs + 1)
    a, b = heads[..., first], heads[..., second]
    turned = heads.copy()
    turned[..., first] = a * np.cos(angle) - b * np.sin(angle)
    turned[..., second] = a * np.sin(angle) + b * np.cos(angle)
    return turned.reshape(len(keys), -1)


def close_in_f16(found: np.ndarray, exact: np.ndarray) -> bool:
    """Whether f16 values are the exact ones, rounded; float32 on the way errs by the largest."""
    step = np.spacing(np.abs(exact).astype(np.float16)).astype(np.float64)
    allowed = 0.5 * step + 4e-7 * np.abs(exact).max()
    return bool((np.abs(found.astype(np.float64) - exact) <= allowed).all())
