"""What became of a prompt's tokens: the same account for every way of reuse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from engine.kv.cost import Work
from engine.prompt import Prompt
from engine.request import DocumentUse
from engine.runtime.context import Logits
from engine.runtime.generate import Growing

# By a token of a prompt, the tokens it looks up. None: nothing is looked up, and no edges are ever set.
Edges = Mapping[int, Sequence[int]] | None


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

    def run(
        self, prompt: Prompt, account: Account, *, patience_ms: float | None, edges: Edges = None
    ) -> Logits:
        """Make the context hold `prompt`; the logits of its last token. Raises Aborted or EngineError.

        Tokens that are computed for it look up what `edges` say.
        """
        ...

    def prepare(self, prompt: Prompt, *, edges: Edges = None) -> int:
        """One bounded piece of idle work for `prompt`; returns how many are left. Raises Aborted."""
        ...

    def positions(self, prompt: Prompt) -> Sequence[int]:
        """Where each token of `prompt`, run last and with edges, lies; -1 for one that was left out."""
        ...

    @property
    def end(self) -> int:
        """The position of the token that is appended next."""
        ...

    def status(self) -> dict[str, Any]:
        """For people."""
        ...
