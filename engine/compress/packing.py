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

# A norm or a bias: floats, stored as they are.
VECTOR = Grid("f32", 0, 1, 4, 0, 0)


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
    """The numbers that `data` means, float32 [rows, columns]; a vector is one row."""
    if grid is VECTOR:
        return torch.from_numpy(data.view("<f4").astype(np.float32))
    assert isinstance(grid, Dense | Sparse)
    return torch.from_numpy(grid.decode(data).astype(np.float32))


def pack_vector(values: Tensor) -> NDArray[np.uint8]:
    """float32 [n] as one row of bytes of VECTOR."""
    found: NDArray[np.uint8] = np.ascontiguousarray(values.numpy(), "<f4").view(np.uint8)[None]
    return found


def solved(grid: Grid, data: NDArray[np.uint8]) -> Solved:
    """What `pack` was given; which of a sparse group's zeros counted as kept is what the bytes say."""
    if isinstance(grid, Dense):
        q, scale = grid.unpack(data)
        kept = np.ones(q.shape, bool)
    else:
        assert isinstance(grid, Sparse)
        indices, values, scale = grid.unpack(data)
        q = np.zeros((*indices.shape[:3], GROUP), np.int8)
        kept = np.zeros(q.shape, bool)
        np.put_along_axis(q, indices.astype(np.int64), values, axis=3)
        np.put_along_axis(kept, indices.astype(np.int64), True, axis=3)
    rows = data.shape[0]
    whole = torch.from_numpy(q.reshape(rows, -1)), torch.from_numpy(kept.reshape(rows, -1))
    return Solved(grid, *whole, torch.from_numpy(scale))
