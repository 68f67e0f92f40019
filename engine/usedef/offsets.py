"""Bytes and characters of one text, and a text with something put into it."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Offsets:
    """Between byte offsets of UTF-8 `data` and character offsets."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.plain = data.isascii()

    @cached_property
    def _starts(self) -> NDArray[np.bool_]:
        import numpy as np

        starts: NDArray[np.bool_] = (np.frombuffer(self._data, np.uint8) & 0xC0) != 0x80
        return starts

    @cached_property
    def _before(self) -> list[int]:
        import numpy as np

        counts: list[int] = np.concatenate(([0], np.cumsum(self._starts))).tolist()
        return counts

    @cached_property
    def _bytes(self) -> NDArray[np.intp]:
        import numpy as np

        return np.append(np.flatnonzero(self._starts), len(self._data))

    def character(self, byte: int) -> int:
        """How many characters start before `byte`."""
        return byte if self.plain else self._before[byte]

    def byte(self, character: int) -> int:
        """Where a character starts; the end of the data for any behind it."""
        if self.plain:
            return min(character, len(self._data))
        return int(self._bytes[min(character, len(self._bytes) - 1)])


def point(data: bytes, byte: int) -> tuple[int, int]:
    """Row and column (in bytes, from 0) as tree-sitter has them."""
    return data.count(b"\n", 0, byte), byte - (data.rfind(b"\n", 0, byte) + 1)
