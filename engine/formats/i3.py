"""i3_0: dense INT3, 64 weights in 26 bytes: scale f16, 16 bytes of low bits, 8 bytes of high bits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.formats.dense import Dense
from engine.formats.grid import Bytes


class _Int3(Dense):
    def _write(self, codes: NDArray[np.uint8]) -> Bytes:
        low, high = np.zeros((len(codes), 16), np.uint8), np.zeros((len(codes), 8), np.uint8)
        for k in range(4):
            low |= (codes[:, k::4] & 3) << 2 * k
        for k in range(8):
            high |= (codes[:, k::8] >> 2) << k
        return np.concatenate([low, high], axis=1)

    def _read(self, data: Bytes) -> NDArray[np.uint8]:
        codes = np.zeros((len(data), 64), np.uint8)
        for k in range(4):
            codes[:, k::4] = data[:, :16] >> 2 * k & 3
        for k in range(8):
            codes[:, k::8] |= (data[:, 16:] >> k & 1) << 2
        return codes


I3_0 = _Int3("i3_0", 241, 64, 26, -4, 3)
