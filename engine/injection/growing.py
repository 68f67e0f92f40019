"""What generated tokens look up: an identifier that is being written, in the names in force at the cursor."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate

from engine.injection.lookups import being_written

_TAIL_BYTES = 1024  # of the text so far that are looked at: a name, and what stands before it


class Written:
    """The text behind the cursor as it grows, and what its tokens look up. Names that it binds are unknown.

    `before` ends at the cursor. `names` says where the definitions of a name in force are, in whatever the
    caller counts. `text` is what was written.
    """

    def __init__(
        self, before: bytes, names: Mapping[str, Sequence[int]], piece: Callable[[int], bytes]
    ) -> None:
        self._before = before[-_TAIL_BYTES:]
        self._names = names
        self._piece = piece
        self._sizes: list[int] = []
        self._found: list[str] = []
        self.text = b""

    def add(self, tokens: Sequence[int]) -> list[Sequence[int]]:
        """What each of `tokens`, which come next, looks up; most look up nothing."""
        edges: list[Sequence[int]] = []
        for token in tokens:
            piece = self._piece(token)
            self.text += piece
            self._sizes.append(len(piece))
            name = self._name()
            self._found.append(name)
            edges.append(self._names[name] if name else ())
        return edges

    def take_back(self, count: int) -> None:
        """The last `count` tokens are not there any more."""
        kept = len(self._sizes) - count
        self._sizes, self._found = self._sizes[:kept], self._found[:kept]
        self.text = self.text[: sum(self._sizes)]

    @property
    def found(self) -> list[tuple[int, str]]:
        """The look-ups of the tokens that are there: the byte of `text` behind the name, and the name."""
        ends = accumulate(self._sizes)
        return [(end, name) for end, name in zip(ends, self._found, strict=True) if name]

    def _name(self) -> str:
        tail = (self._before + self.text[-_TAIL_BYTES:])[-_TAIL_BYTES:]
        word = being_written(tail.decode("utf-8", "replace"))
        return word if self._names.get(word) else ""
