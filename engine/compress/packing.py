"""What a solver found, as the bytes of a file."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.compress.solver import GROUP, Solved
from engine.formats import Grid
from engine.formats.dense import Dense
from engine.formats.s24 import Sparse


def pack(solved: Solved) -> NDArray[np.uint8]:
    """Rows of bytes, uint8 [rows, bytes a row]; they decode to exactly `solved.weight`."""
    grid = solved.grid
    rows, blocks = solved.scale.shape
    q, scale = solved.q.numpy(), solved.scale.numpy()
    if isinstance(grid, Dense):
        return grid.pack(q.reshape(rows, blocks, grid.block), scale)
    assert isinstance(grid, Sparse)
    kept = solved.kept.numpy().reshape(rows, blocks, -1, GROUP)
    indices = np.argsort(~kept, axis=3, kind="stable")[..., :2]
    values = np.take_along_axis(q.reshape(kept.shape), indices, axis=3)
    empty = ~values.any(axis=3) & (scale == 0)[:, :, None]
    indices[empty] = (0, 1)  # the canonical form of zeros
    return grid.pack(indices, values, scale)


def unpack(grid: Grid, data: NDArray[np.uint8]) -> Tensor:
    """The weights that `data` means, float32 [rows, columns]."""
    assert isinstance(grid, Dense | Sparse)
    return torch.from_numpy(grid.decode(data).astype(np.float32))
