"""Look-ups of a request on this machine: where its tokens lie, and edges of what is generated behind them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from engine.injection.choice import Choice
from engine.injection.growing import Written
from engine.injection.lookups import Known, Lookup
from engine.injection.prompt import Reader
from engine.prompt import Prompt
from engine.request import Request
from engine.runtime.account import Edges, Reuse
from engine.runtime.arrangement import Arrangement
from engine.runtime.context import Context, Logits


def places(plan: Arrangement, prompt: Prompt) -> list[int]:
    """The position of each of the prompt's tokens; -1 in segments of which something is left out."""
    sizes = [len(segment.tokens) for segment in prompt.segments]
    starts = list(accumulate(sizes, initial=0))
    found = [-1] * starts[-1]
    filled = dict.fromkeys(range(len(sizes)), 0)
    for span, owner in zip((*plan.shared, *plan.spans), (*plan.shared_owners, *plan.owners), strict=True):
        if owner in plan.left_out:
            continue
        first = starts[owner] + filled[owner]
        found[first : first + len(span.tokens)] = range(span.position, span.end)
        filled[owner] += len(span.tokens)
    return found


def placed(edges: Mapping[int, Sequence[int]], at: Sequence[int]) -> dict[int, list[int]]:
    """`edges` between tokens as edges between the positions `at` which they lie, of those that do."""
    return {
        at[use]: [at[one] for one in definitions if at[one] >= 0]
        for use, definitions in edges.items()
        if at[use] >= 0
    }


def edges_of(known: Known | None) -> Edges:
    """What a `Reuse` is told."""
    return None if known is None else known.edges


class Looks:
    """What requests look up, where heads are given that do; else nothing is read and nothing set."""

    def __init__(self, choice: Choice, piece: Callable[[int], bytes]) -> None:
        self._on = choice.looks_up
        self._piece = piece
        self._reader = Reader()

    def known(self, request: Request, prompt: Prompt) -> Known | None:
        """The look-ups of the prompt's tokens and of names at the cursor; None where nothing looks up."""
        return self._reader.known(request, prompt, self._piece) if self._on else None

    def growing(
        self, reuse: Reuse, context: Context, request: Request, prompt: Prompt, known: Known | None
    ) -> Looking | None:
        """`reuse` with what is appended to it looking up names; None where nothing looks up."""
        return None if known is None else Looking(reuse, context, request, prompt, known, self._piece)


class Looking:
    """A computed prompt that tokens are appended to, each of which looks up what it names. A `Growing`."""

    def __init__(
        self,
        reuse: Reuse,
        context: Context,
        request: Request,
        prompt: Prompt,
        known: Known,
        piece: Callable[[int], bytes],
    ) -> None:
        self._reuse = reuse
        self._context = context
        self._request = request
        self._prompt = prompt
        self._piece = piece
        self.known = known

    @cached_property
    def _written(self) -> Written:
        # Once the prompt has run: only then it is known where its tokens lie.
        places = self._reuse.positions(self._prompt)
        names = {name: [places[one] for one in found.definitions if places[one] >= 0]
                 for name, found in self.known.names.items()}  # fmt: skip
        return Written(self.before, {name: at for name, at in names.items() if at}, self._piece)

    @property
    def before(self) -> bytes:
        """The file before the cursor, without what is written again."""
        text = self._request.prefix.encode("utf-8", "replace")
        return text[: len(text) - len(self._prompt.heal)]

    def room(self) -> int:
        """As of the prompt."""
        return self._reuse.room()

    def append(self, tokens: Sequence[int]) -> None:
        """As of the prompt; `tokens` look up what they name."""
        self._set(tokens)
        self._reuse.append(tokens)

    def extend(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        """As of the prompt; `tokens` look up what they name."""
        self._set(tokens)
        return self._reuse.extend(tokens)

    def logits(self) -> Logits:
        """As of the prompt."""
        return self._reuse.logits()

    def rewind(self, count: int) -> None:
        """As of the prompt."""
        self._written.take_back(count)
        self._reuse.rewind(count)

    def written(self) -> list[tuple[int, Lookup]]:
        """The look-ups of what was generated: bytes from the cursor to behind the name, and what it means."""
        return [(end, self.known.names[name]) for end, name in self._written.found]

    @property
    def text(self) -> bytes:
        """What was generated."""
        return self._written.text

    def close(self) -> None:
        """No edges are set any more: the next prompt has its own."""
        if not self._context.closed:
            self._context.set_edges(())

    def _set(self, tokens: Sequence[int]) -> None:
        """Only of the tokens that come: what is in the cache needs its edges no more."""
        edges = self._written.add(tokens)
        start = self._reuse.end
        self._context.set_edges((start + i, found) for i, found in enumerate(edges) if found)
