"""A prompt in segments: what an engine runs, reuses and shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from engine.request import DocumentUse, Plan

SegmentKind = Literal["header", "document", "prefix", "suffix", "marker"]


@dataclass(frozen=True)
class Segment:
    """Consecutive tokens of one kind. `document` is the index in the request of a document's segment.

    Segments are encoded apart from each other, so that a document has the same tokens wherever it stands.
    """

    kind: SegmentKind
    tokens: tuple[int, ...]
    document: int | None = None
    text: str = ""


@dataclass(frozen=True)
class Prompt:
    """What goes into the model, in order.

    `heal` are the bytes at the cursor that were taken out of the prompt and that the generation must
    reproduce first (`engine.decode.heal.Healer`). `stops` are tokens that end it, beside the tokenizer's own.
    """

    segments: tuple[Segment, ...]
    uses: tuple[DocumentUse, ...]
    plan: Plan
    layout: str
    heal: bytes = b""
    stops: frozenset[int] = frozenset()

    @property
    def tokens(self) -> tuple[int, ...]:
        """Every token of every segment."""
        return tuple(token for segment in self.segments for token in segment.tokens)
