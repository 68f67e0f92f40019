"""A prompt in segments: what an engine runs, reuses and shows.

An exact prompt is one run of tokens, each computed behind all those before it. A composed prompt
(`Composition`) names, for all but the lines at the cursor, the `Unit` whose keys and values stand in for
computing it.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from engine.kv.chunks import CHAIN_TOKENS
from engine.request import DocumentUse, Plan

SegmentKind = Literal["header", "document", "prefix", "suffix", "marker"]
Part = Literal["header", "document", "file", "near", "marker"]
CompositionLayout = Literal["sequential", "shared"]

NEAR_TOKENS = 32
_DIGEST_BYTES = 16


@dataclass(frozen=True, eq=False)
class Unit:
    """A chunk of a document (or of the edited file) as tokens: what is encoded once and placed anywhere.

    It is encoded behind the prompt's header and the units before it in its chain (`previous`), which begins
    with its document, or, in a document longer than `Composition.chain_tokens`, at a strong boundary inside
    it. The first `title` tokens, in the first unit of a chain, are the marker and the line that name the
    document. Units are equal when their tokens and those of their chain are; `name` is for people.
    """

    name: str
    tokens: tuple[int, ...]
    previous: Unit | None = None
    title: int = 0

    @cached_property
    def content(self) -> str:
        """Hex digest of its own tokens: equal where the same text stands behind another."""
        return hashlib.blake2b(array("q", self.tokens).tobytes(), digest_size=_DIGEST_BYTES).hexdigest()

    @cached_property
    def digest(self) -> str:
        """Hex digest of its tokens and of those before it in its chain: what its rows depend on."""
        before = self.previous.digest if self.previous is not None else ""
        joined = before + self.content  # of equal lengths but for the first of a chain
        return hashlib.blake2b(joined.encode(), digest_size=_DIGEST_BYTES).hexdigest()

    @cached_property
    def offset(self) -> int:
        """Tokens before it in its chain: it is encoded at position `len(header) + offset`."""
        return 0 if self.previous is None else self.previous.offset + len(self.previous.tokens)

    def chain(self) -> tuple[Unit, ...]:
        """The units of its chain up to and including itself, first to last: the order to encode them in."""
        return tuple(self._back())[::-1]

    def _back(self) -> Iterator[Unit]:
        unit: Unit | None = self
        while unit is not None:
            yield unit
            unit = unit.previous

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Unit) and self.digest == other.digest)

    def __hash__(self) -> int:
        return hash(self.digest)


@dataclass(frozen=True)
class Slice:
    """Consecutive tokens of a unit, `unit.tokens[first : first + count]`."""

    unit: Unit
    first: int
    count: int

    @property
    def tokens(self) -> tuple[int, ...]:
        """The tokens themselves."""
        return self.unit.tokens[self.first : self.first + self.count]

    @property
    def base(self) -> int:
        """Tokens between the header and the slice where it was encoded."""
        return self.unit.offset + self.first


@dataclass(frozen=True)
class Composition:
    """That a prompt is to be composed of units, and how.

    `near_tokens` is about how many tokens before the cursor are computed in place; `attention_tokens` bounds
    the whole prompt by what attending to it costs (None: only the context bounds it). `pairs` chains each
    second document (1, 3, ...) behind the one before it. `layout` says where units go, which is the
    engine's affair: `sequential`, one after the other, or `shared`, every document at the same position.
    Documents of more than about `chain_tokens` tokens are several chains.
    """

    near_tokens: int = NEAR_TOKENS
    attention_tokens: int | None = None
    pairs: bool = False
    layout: CompositionLayout = "sequential"
    chain_tokens: int = CHAIN_TOKENS


@dataclass(frozen=True)
class Segment:
    """Consecutive tokens of one kind. `document` is the index in the request of a document's segment.

    Segments are encoded apart from each other, so that a document has the same tokens wherever it stands.
    In a composed prompt, `part` tells what a segment is to the composer: the shared `header` (always first),
    units of a `document` or of the edited `file` (with a `slice`, whose tokens they are), and what is
    computed in place: `near` (the lines at the cursor) and `marker` (FIM markers). An exact prompt has none.
    """

    kind: SegmentKind
    tokens: tuple[int, ...]
    document: int | None = None
    text: str = ""
    slice: Slice | None = None
    part: Part | None = None


@dataclass(frozen=True)
class Prompt:
    """What goes into the model, in order.

    `heal` are the bytes at the cursor that were taken out of the prompt and that the generation must
    reproduce first (`engine.decode.heal.Healer`). `stops` are tokens that end it, beside the tokenizer's own.
    `units`, of a composed prompt, are those of the request's documents and of the edited file, placed or
    not, the most urgent first: what to encode while nothing else is to do. The last segment of a composed
    prompt is never a slice, so that something is computed and there are logits.
    """

    segments: tuple[Segment, ...]
    uses: tuple[DocumentUse, ...]
    plan: Plan
    layout: str
    heal: bytes = b""
    stops: frozenset[int] = frozenset()
    units: Sequence[Unit] = ()

    @property
    def tokens(self) -> tuple[int, ...]:
        """Every token of every segment."""
        return tuple(token for segment in self.segments for token in segment.tokens)
