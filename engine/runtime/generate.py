"""From the prompt's logits to text: one token after the other, until something ends it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from engine.decode.heal import Healer, Vocabulary
from engine.decode.sample import Sampler
from engine.decode.stop import Stopper, Verdict
from engine.decode.stream import Utf8Stream
from engine.prompt import Prompt
from engine.request import Request, StopReason
from engine.runtime.alarm import Alarm
from engine.runtime.base import OnText
from engine.runtime.context import Aborted, Logits
from engine.runtime.llama import Model


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
    """Generates for one model, request after request. Not thread-safe."""

    def __init__(self, model: Model, vocabulary: Vocabulary) -> None:
        self._model = model
        self._vocabulary = vocabulary

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
    ) -> None:
        """Decode behind `tokens`, whose last token's logits are `logits`, into `run`. Raises Aborted."""
        sampler, stream = Sampler(request), Utf8Stream()
        healer = Healer(self._vocabulary, prompt.heal)
        ends = self._model.eog | prompt.stops
        shown = 0
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
            if tokens.room() < 1:
                run.end(stopper.finish(run.text, reason="length"))
                return
            tokens.append((token,))
            logits = tokens.logits()
        raise Aborted
