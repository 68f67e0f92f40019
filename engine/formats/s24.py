"""s24_0: 2:4 sparse INT4, 64 weights in 26 bytes: scale f16, 8 bytes of indices, 16 bytes of nibbles."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.formats.errors import FormatError
from engine.formats.grid import Bytes, Grid, Halves, read_scales, scale_bytes

_GROUPS = 16


class Sparse(Grid):
    """The one 2:4 type. Of each 4 weights two are kept; their places are i0 < i1."""

    def encode(self, weights: NDArray[np.floating], importance: NDArray[np.floating] | None = None) -> Bytes:
        """Rows of bytes for float [rows, columns]: the two largest of each 4, ties to the lower column.

        A block with a weight that is not finite becomes zeros. `importance` weights the scale's search.
        """
        rows = self.rows(weights)
        finite = np.isfinite(rows).all(axis=1, keepdims=True)
        groups = np.where(finite, rows, np.float32(0)).reshape(-1, _GROUPS, 4)
        indices = np.sort(np.argsort(-np.abs(groups), axis=2, kind="stable")[:, :, :2], axis=2)
        kept = np.take_along_axis(groups, indices, axis=2).reshape(len(rows), -1)
        part = None
        if importance is not None:
            weight = np.broadcast_to(importance, weights.shape).reshape(-1, _GROUPS, 4)
            part = np.take_along_axis(weight, indices, axis=2).reshape(len(rows), -1).astype(np.float64)
        scale = self.scales(kept, part)
        q = self.quantise(kept, scale).reshape(indices.shape)
        indices[scale == 0] = (0, 1)
        blocks = (weights.shape[0], weights.shape[1] // self.block)
        return self.pack(
            indices.reshape(*blocks, _GROUPS, 2), q.reshape(*blocks, _GROUPS, 2), scale.reshape(blocks)
        )

    def pack(self, indices: NDArray[np.integer], q: NDArray[np.integer], scale: Halves) -> Bytes:
        """Rows of bytes from what a solver chose.

        `indices` and `q` are [rows, blocks, 16, 2], `scale` f16 [rows, blocks].
        0 <= i0 < i1 < 4 and -8 <= q < 8; raises FormatError for anything else.
        """
        if indices.ndim != 4 or indices.shape[2:] != (_GROUPS, 2) or q.shape != indices.shape:
            raise FormatError(
                f"{self.name}: indices {indices.shape} and values {q.shape} are not [rows, blocks, 16, 2]"
            )
        self.check(q, scale, indices.shape[:2])
        first, second = indices[..., 0], indices[..., 1]
        if ((first < 0) | (first >= second) | (second > 3)).any():
            raise FormatError(f"{self.name}: indices are i0 < i1 in 0 to 3")
        pair = (first | second << 2).astype(np.uint8).reshape(-1, _GROUPS)
        nibbles = (q + 8).astype(np.uint8).reshape(-1, 2 * _GROUPS)
        parts = (
            scale_bytes(scale.ravel()),
            pair[:, 0::2] | pair[:, 1::2] << 4,
            nibbles[:, 0::2] | nibbles[:, 1::2] << 4,
        )
        return np.concatenate(parts, axis=1).reshape(indices.shape[0], -1)

    def unpack(self, data: Bytes) -> tuple[NDArray[np.uint8], NDArray[np.int8], Halves]:
        """What `pack` was given. Raises FormatError for indices not i0 < i1, or a scale not finite."""
        blocks = self.blocks(data)
        scale = read_scales(self, blocks)
        pair = np.stack([blocks[:, 2:10] & 15, blocks[:, 2:10] >> 4], axis=2).reshape(-1, _GROUPS)
        nibbles = np.stack([blocks[:, 10:] & 15, blocks[:, 10:] >> 4], axis=2).reshape(-1, _GROUPS, 2)
        indices = np.stack([pair & 3, pair >> 2], axis=2)
        wrong = indices[..., 0] >= indices[..., 1]
        if wrong.any():
            block, group = (int(at) for at in np.argwhere(wrong)[0])
            raise FormatError(
                f"{self.name}: block {block}, group {group} has the indices {indices[block, group].tolist()}"
            )
        shape = (data.shape[0], -1, _GROUPS, 2)
        return (
            indices.reshape(shape),
            (nibbles.astype(np.int8) - 8).reshape(shape),
            scale.reshape(data.shape[0], -1),
        )

    def decode(self, data: Bytes) -> NDArray[np.float64]:
        """float64 [rows, columns] of rows of bytes. Raises FormatError as `unpack` does."""
        indices, q, scale = self.unpack(data)
        found = np.zeros((*indices.shape[:3], 4))
        values = q * scale.astype(np.float64)[:, :, None, None]
        np.put_along_axis(found, indices.astype(np.int64), values, axis=3)
        return found.reshape(data.shape[0], -1)


S24_0 = Sparse("s24_0", 240, 64, 26, -8, 7, kept=2)
