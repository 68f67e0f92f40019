"""The bench the studies work on: documents' keys and values encoded once, placed anywhere, scored.

Positions and cells are independent here: rows are placed and recomputed at any position, several documents
may share positions. Only this module of the studies knows what runs the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from engine.errors import ModelUnsupported
from engine.prompt import detect
from engine.runtime import extension, kernels
from engine.runtime.context import Context, Logits
from engine.runtime.llama import Model
from engine.runtime.threads import default_threads
from engine.studies.tasks import Language

BATCH_TOKENS = 512
Kind = Literal["f16", "q8_0"]


@dataclass(frozen=True, eq=False)
class Block:
    """Rows of `tokens`, computed with the first of them at position `base`."""

    rows: NDArray[np.uint8]
    tokens: tuple[int, ...]
    base: int
    kind: Kind = "f16"


class Lab:
    """One model and one context. Raises ModelUnsupported when its keys and values cannot be moved."""

    def __init__(self, path: Path, *, context_tokens: int = 4096, threads: int = 0) -> None:
        self.threads = threads or default_threads()
        kernels.choose()
        self._model = Model(path)
        self.context = Context(
            self._model,
            context_tokens=context_tokens,
            batch_tokens=BATCH_TOKENS,
            threads=self.threads,
            outputs=BATCH_TOKENS // 2,
            features=(extension.LOOSE_POSITIONS, extension.MASK_BIAS, extension.KV_ROWS),
        )
        if not self.context.rows_supported:
            raise ModelUnsupported(
                f"the keys and values of {path.name} cannot be moved",
                hint="choose a model with plain attention in every layer",
            )
        self.language = Language(self._model, detect(self._model.metadata, self._model.special))
        self._held: list[int] = []
        self._composed = False

    def close(self) -> None:
        """Free the context and the model."""
        self.context.close()
        self._model.close()

    @property
    def identity(self) -> dict[str, Any]:
        """What the model's keys and values depend on."""
        return dict(self.context.identity())

    def encode(self, tokens: Sequence[int], behind: Sequence[int] = ()) -> Block:
        """The rows of `tokens` read right behind `behind`; what the context still holds of it is kept."""
        self.hold(behind)
        start = len(self._held)
        self._append(tokens)
        return Block(self.context.read(start, start + len(tokens)), tuple(tokens), start)

    def hold(self, tokens: Sequence[int]) -> None:
        """Make the context hold exactly `tokens` from position 0 on, in plain order."""
        if self._composed:
            self.clear()
        same = len(_common(self._held, tokens))
        if same < len(self._held):
            self.context.remove(same)
            del self._held[same:]
        self._append(tokens[same:])

    def clear(self) -> None:
        """Forget every cell."""
        self.context.clear()
        self.bias(0, 0, 0.0)
        self._held.clear()
        self._composed = False

    def place(
        self, block: Block, position: int, *, first: int = 0, last: int | None = None, scale: float = 1.0
    ) -> None:
        """Put rows [first, last) of `block` at `position`.., rotated; their keys times `scale`."""
        last = len(block.tokens) if last is None else last
        if last <= first:
            return
        self._composed = True
        self.context.write(
            block.rows,
            total=len(block.tokens),
            first=first,
            count=last - first,
            position=position,
            delta=position - block.base - first,
            kind=block.kind,
            k_scale=scale,
        )

    def compute(self, tokens: Sequence[int], positions: Sequence[int]) -> None:
        """Run `tokens` at `positions` (increasing); cells they have there already must be removed before."""
        self._composed = True
        for start in range(0, len(tokens), BATCH_TOKENS):
            end = start + BATCH_TOKENS
            self.context.decode(tokens[start:end], list(positions[start:end]), outputs="none")

    def recompute(self, tokens: Sequence[int], positions: Sequence[int]) -> None:
        """Replace the cells at `positions`: all removed first, then computed in one loose batch."""
        for start, end in _runs(positions):
            self.context.remove(start, end)
        self.compute(tokens, positions)

    def score(self, tokens: Sequence[int], position: int) -> Logits:
        """Logits after each of `tokens` at `position`.., float32 [tokens, vocabulary]; a view."""
        self._composed = True
        self.context.decode(tokens, list(range(position, position + len(tokens))), outputs="all")
        return self.context.logits_rows()

    def forget(self, start: int, end: int = -1) -> None:
        """Remove the cells at positions [start, end)."""
        self.context.remove(start, end)

    def bias(self, start: int, end: int, value: float) -> None:
        """Let queries from position `end` on see [start, end) with `value` added to their logits."""
        self.context.set_bias(start, end, value)

    def read(self, start: int, end: int) -> NDArray[np.uint8]:
        """The rows at positions [start, end)."""
        return self.context.read(start, end)

    def quantised(self, block: Block) -> Block:
        """`block` with its rows stored as q8_0, the way they lie on disk."""
        self.clear()
        self.place(block, block.base)
        end = block.base + len(block.tokens)
        return replace(block, rows=self.context.read(block.base, end, kind="q8_0"), kind="q8_0")

    def keys(self, rows: NDArray[np.uint8], tokens: int) -> list[NDArray[np.float32]]:
        """The keys of each layer in f16 rows, float32 [tokens, k_width]."""
        found, start = [], 0
        for key_width, value_width in self._widths():
            size = tokens * key_width * 2
            layer = rows[start : start + size].view(np.float16).reshape(tokens, key_width)
            found.append(layer.astype(np.float32))
            start += size + tokens * value_width * 2
        return found

    def _widths(self) -> list[tuple[int, int]]:
        return list(self.context.row_widths())

    def _append(self, tokens: Sequence[int]) -> None:
        start = len(self._held)
        for first in range(0, len(tokens), BATCH_TOKENS):
            self.context.decode(tokens[first : first + BATCH_TOKENS], start + first, outputs="none")
        self._held.extend(tokens)


def _common(left: Sequence[int], right: Sequence[int]) -> list[int]:
    same = []
    for a, b in zip(left, right, strict=False):
        if a != b:
            break
        same.append(a)
    return same


def _runs(positions: Sequence[int]) -> list[tuple[int, int]]:
    """Increasing positions as half-open runs."""
    runs: list[tuple[int, int]] = []
    for position in positions:
        if runs and runs[-1][1] == position:
            runs[-1] = (runs[-1][0], position + 1)
        else:
            runs.append((position, position + 1))
    return runs
