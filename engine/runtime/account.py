"""What became of a prompt's tokens: the same account for every way of reuse."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from engine.kv.cost import Work
from engine.prompt import Prompt
from engine.request import DocumentUse
from engine.runtime.context import Logits
from engine.runtime.generate import Growing


@dataclass
class Account:
    """Filled while a prompt is run, so that it is true of an aborted one too.

    Tokens `computed` for it, `reused` where they lay, `loaded` from memory or disk in `load_ms`; of these
    `moved` are approximate. `predicted_ms` is the cost model's expectation of the first token's time, for
    the `work` it takes (None: it was not asked).
    """

    computed: int = 0
    reused: int = 0
    loaded: int = 0
    moved: int = 0
    load_ms: float = 0.0
    predicted_ms: float = 0.0
    work: Work | None = None
    uses: Sequence[DocumentUse] = field(default_factory=tuple)


class Reuse(Growing, Protocol):
    """A context whose content is reused from prompt to prompt."""

    def run(self, prompt: Prompt, account: Account, *, patience_ms: float | None) -> Logits:
        """Make the context hold `prompt`; the logits of its last token. Raises Aborted or EngineError."""
        ...

    def prepare(self, prompt: Prompt) -> int:
        """One bounded piece of idle work for `prompt`; returns how many are left. Raises Aborted."""
        ...

    def status(self) -> dict[str, Any]:
        """For people."""
        ...
