"""Dense types of one scale a block, and ggml's three plain ones, in ggml's layout (ggml-common.h).

ggml rounds its own otherwise; these find the scale as Steerway's types do, so their bytes differ from
llama-quantize's while any llama.cpp reads them.
"""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
from numpy.typing import NDArray

from engine.formats.errors import FormatError
from engine.formats.grid import Bytes, Grid, Halves, read_scales, scale_bytes


class Dense(Grid):
    """A type whose every weight is stored. Codes are q - low."""

    def encode(self, weights: NDArray[np.floating], importance: NDArray[np.floating] | None = None) -> Bytes:
        """Rows of bytes for float [rows, columns]; a block with a weight that is not finite becomes zeros."""
        rows = self.rows(weights)
        part = None
        if importance is not None:
            part = np.broadcast_to(importance, weights.shape).reshape(rows.shape).astype(np.float64)
        scale = self.scales(rows, part)
        q = self.quantise(rows, scale)
        blocks = (weights.shape[0], weights.shape[1] // self.block)
        return self.pack(q.reshape(*blocks, self.block), scale.reshape(blocks))

    def pack(self, q: NDArray[np.integer], scale: Halves) -> Bytes:
        """Rows of bytes from what a solver chose: `q` [rows, blocks, block], `scale` f16 [rows, blocks].

        Raises FormatError for other shapes, values out of range and scales that are not finite.
        """
        if q.ndim != 3 or q.shape[2] != self.block:
            raise FormatError(f"{self.name}: values {q.shape} are not [rows, blocks, {self.block}]")
        self.check(q, scale, q.shape[:2])
        codes = (q.astype(np.int16) - self.low).astype(np.uint8).reshape(-1, self.block)
        return np.concatenate([scale_bytes(scale.ravel()), self._write(codes)], axis=1).reshape(
            q.shape[0], -1
        )

    def unpack(self, data: Bytes) -> tuple[NDArray[np.int8], Halves]:
        """What `pack` was given. Raises FormatError for a scale that is not finite."""
        blocks = self.blocks(data)
        scale = read_scales(self, blocks)
        q = (self._read(blocks[:, 2:]).astype(np.int16) + self.low).astype(np.int8)
        return q.reshape(data.shape[0], -1, self.block), scale.reshape(data.shape[0], -1)

    def decode(self, data: Bytes) -> NDArray[np.float64]:
        """float64 [rows, columns] of rows of bytes. Raises FormatError as `unpack` does."""
        q, scale = self.unpack(data)
        return (q * scale.astype(np.float64)[:, :, None]).reshape(data.shape[0], -1)

    @abstractmethod
    def _write(self, codes: NDArray[np.uint8]) -> Bytes:
        """Codes [blocks, block] as the bytes behind the scale."""

    @abstractmethod
    def _read(self, data: Bytes) -> NDArray[np.uint8]:
        """The codes of such bytes."""


class _Nibbles(Dense):
    def _write(self, codes: NDArray[np.uint8]) -> Bytes:
        found: Bytes = codes[:, :16] | codes[:, 16:] << np.uint8(4)
        return found

    def _read(self, data: Bytes) -> NDArray[np.uint8]:
        return np.concatenate([data & 15, data >> 4], axis=1)


class _Fives(Dense):
    def _write(self, codes: NDArray[np.uint8]) -> Bytes:
        high = np.packbits(codes >> 4, axis=1, bitorder="little")
        return np.concatenate([high, codes[:, :16] & 15 | codes[:, 16:] << 4], axis=1)

    def _read(self, data: Bytes) -> NDArray[np.uint8]:
        high = np.unpackbits(data[:, :4], axis=1, bitorder="little")
        found: Bytes = np.concatenate([data[:, 4:] & 15, data[:, 4:] >> 4], axis=1) | high << 4
        return found


class _Bytes(Dense):
    def _write(self, codes: NDArray[np.uint8]) -> Bytes:
        return (codes.astype(np.int16) + self.low).astype(np.int8).view(np.uint8)

    def _read(self, data: Bytes) -> NDArray[np.uint8]:
        signed = np.ascontiguousarray(data).view(np.int8).astype(np.int16)
        if (signed < self.low).any():
            raise FormatError(f"{self.name}: a value is below {self.low}")
        return (signed - self.low).astype(np.uint8)


Q4_0 = _Nibbles("q4_0", 2, 32, 18, -8, 7)
Q5_0 = _Fives("q5_0", 6, 32, 22, -16, 15)
Q8_0 = _Bytes("q8_0", 8, 32, 34, -127, 127)
