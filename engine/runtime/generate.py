"""From the prompt's logits to text: one token after the other, until something ends it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from engine.decode.draft import BatchCosts, Chances, Drafter
from engine.decode.heal import Healer, Vocabulary
from engine.decode.lookup import Lookup
from engine.decode.sample import Sampler
from engine.decode.stop import Stopper, Verdict
from engine.decode.stream import Utf8Stream
from engine.prompt import Prompt
from engine.request import Request, StopReason
from engine.runtime.alarm import Alarm
from engine.runtime.base import OnText
from engine.runtime.context import Aborted, Logits
from engine.runtime.llama import Model
from engine.runtime.threads import Pace

# Of a suffix that the prompt does not show, so much is looked up in.
_SUFFIX_CHARACTERS = 4000


class Growing(Protocol):
    """A computed prompt that tokens are appended to.

    `append` and `extend` raise Aborted or EngineError and leave the object true to its context.
    """

    def room(self) -> int:
        """How many tokens may still be appended."""
        ...

    def append(self, tokens: Sequence[int]) -> None:
        """Run `tokens` behind the others; `logits` are then those of the last."""
        ...

    def logits(self) -> Logits:
        """Logits behind the last token, float32 [vocabulary]; a view, valid until the next call that runs."""
        ...

    def extend(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        """As `append`, and the logits behind each token, [len(tokens), vocabulary]; valid as long."""
        ...

    def rewind(self, count: int) -> None:
        """Take back the last `count` tokens that were appended. `logits` is then undefined."""
        ...


@dataclass
class Run:
    """What one request came to so far."""

    reused: int = 0
    computed: int = 0
    moved: int = 0
    generated: int = 0
    drafted: int = 0
    accepted: int = 0
    text: str = ""
    stop: StopReason = "cancelled"
    first_token_ms: float = 0.0

    def count(self, alarm: Alarm) -> None:
        """One more token was chosen."""
        self.generated += 1
        self.first_token_ms = self.first_token_ms or alarm.elapsed_ms

    def end(self, verdict: Verdict) -> None:
        """The generation is over for a reason of its own."""
        self.text, self.stop = verdict.text, verdict.reason or "eos"


class Generator:
    """Generates for one model, request after request. Not thread-safe.

    `drafts` is the longest draft (0: none), for a context of as many outputs and one more; what drafts cost
    and how often they are right is learned over requests. `pace` chooses the number of threads, for
    requests that come with `set_threads`.
    """

    def __init__(
        self, model: Model, vocabulary: Vocabulary, *, drafts: int = 0, pace: Pace | None = None
    ) -> None:
        self._model = model
        self._vocabulary = vocabulary
        self._most_drafted = drafts
        self.pace = pace
        self._chances = Chances()
        self.costs = BatchCosts()

    def generate(
        self,
        request: Request,
        prompt: Prompt,
        logits: Logits,
        tokens: Growing,
        *,
        run: Run,
        alarm: Alarm,
        stopper: Stopper,
        on_text: OnText | None = None,
        set_threads: Callable[[int], None] | None = None,
    ) -> None:
        """Decode behind `tokens`, whose last token's logits are `logits`, into `run`. Raises Aborted."""
        sampler, stream = Sampler(request), Utf8Stream()
        healer = Healer(self._vocabulary, prompt.heal)
        ends = self._model.eog | prompt.stops
        clock = _Clock(self.costs, self.pace, set_threads)
        ahead = _Ahead(tokens, run, clock, self._drafter(prompt, request))
        shown = 0
        try:
            while not alarm.cancelled:
                token = sampler.pick(logits, allowed=healer.allowed())
                run.count(alarm)
                if token in ends:
                    run.end(stopper.finish(run.text))
                    return
                fresh = healer.accept(self._model.piece(token))
                shown += bool(fresh) or not healer.pending
                verdict = stopper.feed(stream.feed(fresh), tokens=shown)
                run.text = verdict.text
                if on_text is not None and fresh:
                    on_text(verdict.text)
                if verdict.reason is not None:
                    run.end(verdict)
                    return
                if not ahead.follow(token):
                    if tokens.room() < 1:
                        run.end(stopper.finish(run.text, reason="length"))
                        return
                    ahead.run(token, most=0 if healer.pending else request.max_tokens - shown - 1)
                logits = ahead.logits()
        finally:
            ahead.drop()
        raise Aborted

    def _drafter(self, prompt: Prompt, request: Request) -> Drafter | None:
        if self._most_drafted < 1:
            return None
        references = texts(prompt)
        history = references.pop()
        if request.suffix and not any(segment.kind == "suffix" for segment in prompt.segments):
            references.append(self._model.encode(request.suffix[:_SUFFIX_CHARACTERS], special=False))
        lookup = Lookup(references, history)
        return Drafter(lookup, chances=self._chances, costs=self.costs, longest=self._most_drafted)


class _Ahead:
    """What was run and is not yet picked: a token's draft, and the logits behind each of its tokens."""

    def __init__(self, tokens: Growing, run: Run, clock: _Clock, drafter: Drafter | None) -> None:
        self._tokens = tokens
        self._run = run
        self._clock = clock
        self._drafter = drafter
        self._draft: tuple[int, ...] = ()
        self._rows: Sequence[Logits] | NDArray[np.float32] = ()
        self._taken = 0

    def follow(self, token: int) -> bool:
        """`token` was picked: whether it is the draft's next, and so has been run. If not, the draft goes."""
        if self._drafter is not None:
            self._drafter.follow(token)
        if self._taken < len(self._draft) and self._draft[self._taken] == token:
            self._taken += 1
            self._run.accepted += 1
            return True
        self.drop()
        return False

    def run(self, token: int, *, most: int) -> None:
        """Run `token`, with a draft of at most `most` tokens if one is worth it."""
        limit = min(most, self._tokens.room() - 1)
        draft = self._drafter.draft(limit) if self._drafter is not None else ()
        self._clock.start()
        if draft:
            self._rows = self._tokens.extend((token, *draft))
        else:
            self._tokens.append((token,))
            self._rows = (self._tokens.logits(),)
        self._clock.stop(1 + len(draft))
        self._draft, self._taken = draft, 0
        self._run.drafted += len(draft)

    def logits(self) -> Logits:
        """The logits behind the token picked last."""
        return self._rows[self._taken]

    def drop(self) -> None:
        """Take back what of the draft was not picked."""
        left = len(self._draft) - self._taken
        self._draft, self._taken = (), 0
        if left:
            self._tokens.rewind(left)


class _Clock:
    """Times what is run, for those who learn from it, and sets the threads it runs with."""

    def __init__(
        self, costs: BatchCosts, pace: Pace | None, set_threads: Callable[[int], None] | None
    ) -> None:
        self._costs = costs
        self._pace = pace if set_threads is not None else None
        self._set_threads = set_threads
        self._threads = 0
        self._started = 0.0

    def start(self) -> None:
        """A batch begins."""
        threads = self._pace.threads if self._pace is not None else self._threads
        if threads != self._threads and self._set_threads is not None:
            self._threads = threads
            self._set_threads(threads)
        self._started = time.perf_counter()

    def stop(self, size: int) -> None:
        """The batch of `size` tokens is done."""
        ms = (time.perf_counter() - self._started) * 1000
        self._costs.observe(size, ms)
        if self._pace is not None and size == 1:
            self._pace.observe(ms)


def texts(prompt: Prompt) -> list[Sequence[int]]:
    """The prompt's texts as tokens: documents and the text after the cursor, and last that before it."""
    found: dict[tuple[str, int | None], list[int]] = {}
    for segment in prompt.segments:
        if segment.kind in ("document", "suffix", "prefix"):
            found.setdefault((segment.kind, segment.document), []).extend(segment.tokens)
    history = found.pop(("prefix", None), [])
    return [*found.values(), history]
