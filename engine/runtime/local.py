"""The engine on this machine: llama.cpp in this process, one cached sequence, exact prefix reuse."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Literal

from engine import prompt as prompts
from engine import suggest
from engine.decode.heal import Vocabulary
from engine.decode.stop import Stopper
from engine.errors import ContextTooLong, EngineStopped
from engine.prompt import Family, Prompt
from engine.request import Cancel, DocumentUse, Plan, Request, Suggestion
from engine.runtime import debug, extension
from engine.runtime.alarm import Alarm
from engine.runtime.base import EngineInfo, OnText
from engine.runtime.context import Aborted, Context
from engine.runtime.generate import Generator, Run
from engine.runtime.kv import CHUNK_TOKENS, CachedTokens, whole_blocks
from engine.runtime.llama import Model
from engine.runtime.moving import MovingTokens
from engine.runtime.threads import default_threads

Reuse = Literal["prefix", "shift"]

CONTEXT_TOKENS = 4096
_LEAST_PROMPT_TOKENS = 16


class LocalEngine:
    """An Engine over a GGUF file.

    The prompt's longest beginning that is still in the KV cache is reused; documents stand first, so that a
    keystroke or a second request over the same documents computes only what follows the first changed token.
    With `reuse` "shift" a keystroke also keeps the text after the cursor: faster and approximate, which
    `Suggestion.tokens_moved` tells (engine/runtime/moving.py); it needs the patched library and is "prefix"
    without. `threads` 0 chooses. Raises ModelFileMissing, ModelFileCorrupt, ModelUnsupported and
    EngineUnavailable.
    """

    def __init__(
        self, path: Path, *, n_ctx: int = CONTEXT_TOKENS, threads: int = 0, reuse: Reuse = "prefix"
    ) -> None:
        self._model = Model(path)
        self._threads = threads or default_threads()
        self._context_tokens = min(n_ctx, self._model.trained_context_tokens or n_ctx)
        self._moves = reuse == "shift" and extension.RANGED_SHIFT in extension.features()
        self._context: Context | None = None
        self._cached: CachedTokens | None = None

    @property
    def info(self) -> EngineInfo:
        """What is running."""
        return EngineInfo(
            backend="local",
            model=self._model.path.stem,
            family=self._family.name,
            context_tokens=self._context_tokens,
            threads=self._threads,
            features=(*extension.features(), *(("approximate-suffix",) if self._moves else ())),
        )

    def warm(self) -> None:
        """Make now what the first suggestion would wait for: the context, and the vocabulary in order."""
        cached = self._opened()[1]
        assert self._vocabulary is not None
        if not cached.tokens:
            cached.append(self._model.encode("\n", special=False)[:1] or (0,))

    def plan(self, request: Request) -> Plan:
        """What `suggest` would place, without running the model. Raises ContextTooLong, UsageError."""
        return self._assemble(request).plan

    def count(self, text: str) -> int:
        """Tokens of `text`."""
        return len(self._model.encode(text, special=False))

    def close(self) -> None:
        """Free the context and the model. Idempotent."""
        if self._context is not None:
            self._context.close()
        self._model.close()

    def suggest(
        self, request: Request, *, on_text: OnText | None = None, cancel: Cancel | None = None
    ) -> Suggestion:
        """Fill the hole. A cancel or the budget's end is answered within one node of the graph.

        Raises ContextTooLong, UsageError (layout), EngineStopped, EngineError.
        """
        context, cached = self._opened()
        with Alarm(context.abort, cancel or Cancel(), budget_ms=request.budget_ms) as alarm:
            stopper = Stopper(request)
            prompt = self._assemble(request)
            tokens = prompt.tokens
            reused = cached.place(prompt)
            run = Run(reused=reused)
            try:
                logits = cached.compute(tokens)
                run.moved = cached.moved
                run.computed = len(tokens) - reused - run.moved
                self._generator.generate(
                    request, prompt, logits, cached, run=run, alarm=alarm, stopper=stopper, on_text=on_text
                )
            except Aborted:
                run.computed = run.computed or max(0, len(cached.tokens) - reused)
                run.stop = "cancelled" if alarm.cancelled else "time"
                run.text = stopper.finish(run.text).text
            suggestion = self._suggestion(request, prompt, run, alarm)
        debug.show(prompt, suggestion)
        return suggestion

    def _suggestion(self, request: Request, prompt: Prompt, run: Run, alarm: Alarm) -> Suggestion:
        text = suggest.finish(run.text, request)
        spoken = text or run.stop in ("cancelled", "time", "length")
        return Suggestion(
            text=text,
            stop=run.stop if spoken else "empty",
            documents=tuple(_with_origin(prompt, run.reused)),
            tokens_computed=run.computed,
            tokens_reused=run.reused,
            tokens_moved=run.moved,
            tokens_generated=run.generated,
            tokens_drafted=run.drafted,
            tokens_accepted=run.accepted,
            first_token_ms=run.first_token_ms,
            total_ms=alarm.elapsed_ms,
            layout=prompt.layout,
            model=self._model.path.stem,
            version=request.version,
        )

    def _assemble(self, request: Request) -> Prompt:
        room = self._context_tokens - request.max_tokens
        if room < _LEAST_PROMPT_TOKENS:
            raise ContextTooLong(
                f"{request.max_tokens} tokens to generate leave no prompt in {self._context_tokens}",
                hint="ask for fewer tokens or raise context_tokens",
            )
        return prompts.assemble(
            request, self._model, self._family, context_tokens=room, vocabulary=self._vocabulary
        )

    def _opened(self) -> tuple[Context, CachedTokens]:
        """The context and its tokens; made at first use, so that counting and planning need none."""
        if self._model.closed:
            raise EngineStopped("the engine was closed", hint="open it again to get suggestions")
        if self._context is None or self._cached is None:
            self._context = Context(
                self._model,
                context_tokens=self._context_tokens,
                batch_tokens=CHUNK_TOKENS,
                threads=self._threads,
                sequences=2 if self._moves else 1,
            )
            self._cached = self._tokens_of(self._context)
        return self._context, self._cached

    def _tokens_of(self, context: Context) -> CachedTokens:
        return MovingTokens(context, self._model.piece) if self._moves else CachedTokens(context)

    @cached_property
    def _family(self) -> Family:
        return prompts.detect(self._model.metadata, self._model.special)

    @cached_property
    def _vocabulary(self) -> Vocabulary:
        return Vocabulary(self._model.pieces())

    @cached_property
    def _generator(self) -> Generator:
        return Generator(self._model, self._vocabulary)


def _with_origin(prompt: Prompt, reused: int) -> Iterable[DocumentUse]:
    """Each document's use; it counts as reused when all of its whole blocks were."""
    kept = set()
    end = 0
    for segment in prompt.segments:
        start, end = end, end + len(segment.tokens)
        if segment.document is not None and start < reused and whole_blocks(end) <= reused:
            kept.add(segment.document)
    for index, use in enumerate(prompt.uses):
        yield replace(use, origin="reused") if index in kept and use.origin == "computed" else use
