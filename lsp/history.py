"""The last requests and what became of each: what answers "why no suggestion?"."""

from __future__ import annotations

import time
from collections import Counter, deque
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from engine.request import Suggestion
from engine.runtime.idle import NOT_ENCODED

Outcome = Literal["shown", "nothing", "refused", "waiting", "superseded", "stale", "cancelled", "failed"]

_KEPT = 50


@dataclass(frozen=True)
class Record:
    """One request. `reason` says in words why there was no suggestion, or where it came from.

    `engine_ms` and `first_token_ms` are the model's, `total_ms` the whole time in the server, debounce and
    waiting included. `skipped` are documents that were left out because they were not encoded yet. No text of
    the file or of the suggestion is kept.
    """

    number: int
    at: str
    file: str
    line: int
    language: str
    trigger: str
    outcome: Outcome
    reason: str = ""
    step: str = ""
    documents: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    tokens_computed: int = 0
    tokens_reused: int = 0
    tokens_generated: int = 0
    first_token_ms: float = 0.0
    engine_ms: float = 0.0
    total_ms: float = 0.0
    characters: int = 0
    model: str = ""
    accepted: bool = False

    def timed(self, suggestion: Suggestion) -> Record:
        """The record with what the model says it took."""
        return replace(
            self,
            skipped=left_out(suggestion),
            tokens_computed=suggestion.tokens_computed,
            tokens_reused=suggestion.tokens_reused,
            tokens_generated=suggestion.tokens_generated,
            first_token_ms=round(suggestion.first_token_ms, 1),
            engine_ms=round(suggestion.total_ms, 1),
            model=suggestion.model,
        )


class History:
    """The last records, newest last, and counts since the server started."""

    def __init__(self, kept: int = _KEPT) -> None:
        self._records: deque[Record] = deque(maxlen=kept)
        self._counts: Counter[str] = Counter()
        self._number = 0

    def next_number(self) -> int:
        """The number of a new request; suggestions carry it, so that an acceptance can name its own."""
        self._number += 1
        return self._number

    def add(self, record: Record) -> None:
        """Keep `record`."""
        self._records.append(record)
        self._counts[record.outcome] += 1

    def accept(self, number: int) -> Record | None:
        """Mark a shown suggestion as accepted; None when it is unknown or was accepted before."""
        for index, record in enumerate(self._records):
            if record.number == number and record.outcome == "shown" and not record.accepted:
                self._records[index] = replace(record, accepted=True)
                self._counts["accepted"] += 1
                return self._records[index]
        return None

    @property
    def last(self) -> Record | None:
        """The newest record."""
        return self._records[-1] if self._records else None

    def report(self, limit: int = 10) -> dict[str, Any]:
        """Counts and the last records, newest first, as JSON."""
        newest = list(self._records)[-limit:][::-1]
        return {"counts": dict(self._counts), "requests": [asdict(record) for record in newest]}


def left_out(suggestion: Suggestion) -> tuple[str, ...]:
    """Names of the documents that were not encoded yet; they are, as soon as the engine is idle."""
    return tuple(use.name for use in suggestion.documents if use.reason == NOT_ENCODED)


def now() -> str:
    """Local time to the second, with its offset."""
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")
