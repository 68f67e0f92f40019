"""Heads of a context whose attention is given instead of computed, and the edges that some of them follow.

What `Context` has on the patched library; every argument that native code takes is checked here.
"""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from engine.injection.choice import Choice
from engine.injection.profile import Head, Kind
from engine.runtime import extension

Mode = Literal["inject", "re-weight"]
MODES: dict[Mode, int] = {"inject": 1, "re-weight": 2}  # enum steerway_head_mode
MOST_DEFINITIONS = 8  # of one use
_MOST_BIAS = 100.0
_ROUNDING = 1e-6
_HEAD = np.dtype([("layer", "i4"), ("head", "i4"), ("mode", "i4"), ("weight", "f4"), ("previous", "f4")])


@dataclass(frozen=True)
class GivenHead:
    """One query head and what it does in place of its attention.

    "inject": `weight` of the values of a token's definitions (their mean), `previous` of the token before,
    and the rest of the sequence's first token, which also gets what a token without either leaves; 0 and 0 is
    a head that rests on the first token. "re-weight": attention as usual with `weight` added to the logits of
    definitions. `constant` [values of a head] is added to an injected head's output behind the first token.
    """

    layer: int
    head: int
    mode: Mode = "inject"
    weight: float = 0.0
    previous: float = 0.0
    constant: tuple[float, ...] = ()

    def check(self) -> None:
        """Raises ValueError for shares out of range."""
        if self.mode == "inject":
            good = min(self.weight, self.previous) >= 0 and self.weight + self.previous <= 1 + _ROUNDING
        else:
            good = abs(self.weight) <= _MOST_BIAS and self.previous == 0
        if not good:
            shares = f"weights of {self.weight} and {self.previous}"
            raise ValueError(f"head {self.layer}.{self.head}: {shares} to {self.mode}")
        if not all(map(math.isfinite, self.constant)):
            raise ValueError(f"head {self.layer}.{self.head}: its constant is not finite")


def heads_of(choice: Choice) -> list[GivenHead]:
    """What a context is given for a choice."""
    return [_given(kind, head, choice.boost) for kind, head in choice.heads]


def _given(kind: Kind, head: Head, boost: float) -> GivenHead:
    place = head.layer, head.head
    if kind == "re-weight":
        return GivenHead(*place, "re-weight", boost)
    if kind == "sink-only":
        return GivenHead(*place, constant=head.resting)
    weight = head.share if kind == "definitions" else 0.0
    previous = head.share if kind == "previous" else 0.0
    return GivenHead(*place, weight=weight, previous=previous, constant=head.constant)


def identity(choice: Choice) -> str:
    """Hex digits (16) that stand for everything a choice changes in keys and values; "" for nothing."""
    if not choice.heads:
        return ""
    return hashlib.blake2b(repr(heads_of(choice)).encode(), digest_size=8).hexdigest()


class Given(ABC):
    """The part of `Context` that gives heads."""

    handle: Any
    features: tuple[str, ...]

    @abstractmethod
    def _check_open(self) -> None: ...

    @abstractmethod
    def _check_sequence(self, sequence: int) -> None: ...

    def set_heads(self, heads: Sequence[GivenHead]) -> None:
        """Give exactly these heads from the next decode on; none is off. What is in the cache stays.

        Raises ValueError for weights and constants that cannot be, extension.Refused for heads that the model
        or the library does not have, and where the feature `extension.HEADS` is off.
        """
        self._check_open()
        for head in heads:
            head.check()
        rows = np.array([(h.layer, h.head, MODES[h.mode], h.weight, h.previous) for h in heads], _HEAD)
        constants = self._constants(heads)
        extension.set_heads(
            self.handle, rows.ctypes.data if len(heads) else None, len(heads),
            None if constants is None else constants.ctypes.data,
        )  # fmt: skip

    def _constants(self, heads: Sequence[GivenHead]) -> NDArray[np.float32] | None:
        if not any(head.constant for head in heads):
            return None
        width = {layer.index: layer.v_head for layer in extension.layers(self.handle)}
        for head in heads:
            if head.constant and len(head.constant) != width.get(head.layer):
                raise ValueError(f"head {head.layer}.{head.head}: a constant of {len(head.constant)} values")
        widest = max(width.values())
        if min(width.values()) != widest:
            raise ValueError("constants need layers whose heads are equally wide")
        return np.array([head.constant or (0.0,) * widest for head in heads], np.float32)

    def set_edges(self, edges: Iterable[tuple[int, Sequence[int]]], *, sequence: int = 0) -> None:
        """Let tokens at these positions have definitions at those, and no others of `sequence` have any.

        (use, definitions) each; the last MOST_DEFINITIONS of a use count. They have an effect on tokens that
        are decoded from now on, and may name positions without a token. Raises ValueError, extension.Refused.
        """
        self._check_open()
        self._check_sequence(sequence)
        pairs = [
            (use, definition)
            for use, definitions in dict(edges).items()
            for definition in list(definitions)[-MOST_DEFINITIONS:]
        ]
        if any(not 0 <= position < 2**31 for pair in pairs for position in pair):
            raise ValueError("a position that cannot be")
        rows = np.array(pairs, np.int32).reshape(-1, 2)
        extension.set_edges(self.handle, sequence, rows.ctypes.data if len(rows) else None, len(rows))
