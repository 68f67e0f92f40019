"""What goes through the seam: a request to suggest, and the suggestion that comes back."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from engine.documents import Document, DocumentKind

Origin = Literal["computed", "reused", "loaded", "skipped"]
StopReason = Literal["statement", "line", "suffix", "length", "time", "eos", "cancelled", "empty"]
StopAt = Literal["statement", "line", "block"]


@dataclass(frozen=True)
class Request:
    """A hole in a file, and what may be read to fill it.

    `prefix` and `suffix` are the edited file's text before and after the cursor. `documents` come most
    relevant last (nearest the hole). `stop_at` bounds what is suggested: the rest of the line, the
    statement, or the indented block. `max_tokens` and `budget_ms` end the generation; `context_tokens`
    bounds the prompt (None: what the model's context leaves), `document_tokens` the documents in it (None:
    what the file leaves), `file_tokens` the lines around the cursor (None: what fits). `temperature` 0 is
    greedy. `layout` None is the model's measured default. `patience_ms` is how long documents whose keys and
    values are not known yet may delay the first token: those that would take longer are left out, say so, and
    are encoded when the engine is idle (None: all are computed). `version` is the editor's document version,
    returned untouched.
    """

    prefix: str
    suffix: str
    path: str = ""
    language: str = ""
    repository: str = ""
    documents: tuple[Document, ...] = ()
    max_tokens: int = 64
    budget_ms: float | None = None
    context_tokens: int | None = None
    document_tokens: int | None = None
    file_tokens: int | None = None
    stop_at: StopAt = "statement"
    temperature: float = 0.0
    top_p: float = 0.95
    top_k: int = 40
    seed: int = 0
    layout: str | None = None
    patience_ms: float | None = None
    version: int | None = None


@dataclass(frozen=True)
class DocumentUse:
    """How one document took part: tokens placed, where they came from, and what was cut.

    `cut_tokens` is how many of the document's own tokens were left out (never silent); `origin` is where the
    keys and values of the others came from: `computed` for this request, `loaded` from memory or disk,
    `reused` where they lay, `skipped` when none take part. `cut_line` is how many lines of its rendering
    stand when the rest was cut, `reason` why tokens were left out.
    """

    name: str
    kind: DocumentKind
    tokens: int
    origin: Origin
    cut_tokens: int = 0
    cut_line: int | None = None
    reason: str = ""


@dataclass(frozen=True)
class Plan:
    """The prompt a request would make, without computing it: per document tokens, and the budget.

    `file_cut_lines` counts lines of the edited file, far from the cursor, that did not fit.
    """

    documents: tuple[DocumentUse, ...]
    file_tokens: int
    prompt_tokens: int
    budget_tokens: int
    layout: str
    text: str = ""
    file_cut_lines: int = 0


@dataclass(frozen=True)
class Suggestion:
    """What to insert at the cursor, why it ended, and what it cost.

    `tokens_computed` counts prompt tokens run through the model for this request, `tokens_reused` those
    whose KV lay in the context, `tokens_loaded` those whose KV was put there from memory or disk, which took
    `load_ms`. Of both, `tokens_moved` were computed behind other text than now stands before them within
    their own document. `tokens_drafted` were guessed, `tokens_accepted` of them confirmed. Times are
    milliseconds from the call; `predicted_ms` is what the cost model expected of `first_token_ms`. `text` is
    empty when there is nothing worth saying.
    """

    text: str
    stop: StopReason
    documents: tuple[DocumentUse, ...] = ()
    tokens_computed: int = 0
    tokens_reused: int = 0
    tokens_moved: int = 0
    tokens_loaded: int = 0
    tokens_generated: int = 0
    tokens_drafted: int = 0
    tokens_accepted: int = 0
    load_ms: float = 0.0
    predicted_ms: float = 0.0
    first_token_ms: float = 0.0
    total_ms: float = 0.0
    layout: str = ""
    model: str = ""
    version: int | None = None


@dataclass(frozen=True)
class Cancel:
    """A flag read at every token; set it from any thread to end the generation there."""

    _event: threading.Event = field(default_factory=threading.Event)
    _listeners: list[Callable[[], None]] = field(default_factory=list, compare=False, repr=False)

    def set(self) -> None:
        """Ask for the end."""
        self._event.set()
        for listener in tuple(self._listeners):
            listener()

    def listen(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` when set, on the setting thread (now, if already set). Returns how to stop that."""
        self._listeners.append(listener)
        if self.is_set():
            listener()

        def forget() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return forget

    def is_set(self) -> bool:
        """Whether the end was asked for."""
        return self._event.is_set()
