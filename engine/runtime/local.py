"""The engine on this machine: llama.cpp in this process, and prompts that reuse what was computed before."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from engine import prompt as prompts
from engine import suggest
from engine.decode.heal import Vocabulary
from engine.decode.stop import Stopper
from engine.errors import ContextTooLong, EngineStopped
from engine.kv.gate import Gate
from engine.prompt import Family, Prompt
from engine.request import Cancel, Plan, Request, Suggestion
from engine.runtime import debug, extension, kernels
from engine.runtime.account import Account, Reuse
from engine.runtime.adapter import Adapter
from engine.runtime.alarm import Alarm
from engine.runtime.base import EngineInfo, OnText
from engine.runtime.composed import ComposedTokens
from engine.runtime.context import Aborted, Context
from engine.runtime.generate import Generator, Run
from engine.runtime.llama import Model
from engine.runtime.looking import Looks, edges_of
from engine.runtime.reuse import OUTPUTS, ReuseBuilder
from engine.runtime.threads import Pace, default_threads
from engine.settings import Settings

CONTEXT_TOKENS = 4096
_LEAST_PROMPT_TOKENS = 16


class LocalEngine:
    """An Engine over a GGUF file.

    Documents stand first in a prompt. Where the model's gate is open their keys and values are computed one
    by one, kept, and placed wherever a prompt has them (engine/runtime/composed.py): approximate, and a
    change of documents computes only the lines at the cursor. Elsewhere, and with the setting `reuse`
    "prefix", the prompt's longest beginning that is still in the KV cache is reused, which is exact.

    `settings` None is `reuse` "prefix" and everything else at its default; `gate` overrides what was
    measured for the model. `threads` 0 chooses. Raises ModelFileMissing, ModelFileCorrupt, ModelUnsupported
    (the model's file or its adapter's) and EngineUnavailable.
    """

    def __init__(
        self,
        path: Path,
        *,
        n_ctx: int = CONTEXT_TOKENS,
        threads: int = 0,
        settings: Settings | None = None,
        gate: Gate | None = None,
    ) -> None:
        # Before the weights are read: kernels of ours want them in an order of their own.
        self._kernels = kernels.choose(settings.kernels if settings else "auto")
        self._model = Model(path)
        if settings is not None and settings.adapter:
            self._model.adapter = Adapter(self._model, Path(settings.adapter).expanduser())
        self._threads = threads or default_threads()
        self._context_tokens = min(n_ctx, self._model.trained_context_tokens or n_ctx)
        self._settings = settings or Settings(reuse="prefix")
        self._builder = ReuseBuilder(
            self._model,
            self._settings,
            context_tokens=self._context_tokens,
            threads=self._threads,
            gate=gate,
        )
        self._context: Context | None = None
        self._reuse: Reuse | None = None

    @property
    def info(self) -> EngineInfo:
        """What is running."""
        return EngineInfo(
            backend="local",
            model=self._model.path.stem,
            family=self._family.name,
            context_tokens=self._context_tokens,
            threads=self._threads,
            features=extension.features(),
            reuse=self._builder.gate.mode,
        )

    def warm(self) -> None:
        """Make now what the first suggestion would wait for: the context, and the vocabulary in order."""
        self._opened()
        assert self._vocabulary is not None

    def prepare(self, request: Request, *, cancel: Cancel) -> int:
        """Encode one of the request's documents, lay out its prompt, or see to what is due; pieces left."""
        context, reuse = self._opened()
        self._builder.settle()
        prompt = self._assemble(request)
        with Alarm(context.abort, cancel, budget_ms=None) as alarm:
            try:
                left = self._prepared(context, reuse, request, prompt)
                return left or self._see_to(reuse, request, prompt, cancel)
            except Aborted:
                return int(alarm.cancelled)

    def _prepared(self, context: Context, reuse: Reuse, request: Request, prompt: Prompt) -> int:
        known = self._looks.known(request, prompt)
        if known is None:
            return reuse.prepare(prompt)
        try:
            return reuse.prepare(prompt, edges=known.edges)
        finally:
            if not context.closed:
                context.set_edges(())

    def _see_to(self, reuse: Reuse, request: Request, prompt: Prompt, cancel: Cancel) -> int:
        """Time kernels, measure the machine, or check a prompt against full attention, when that is due."""
        if self._unmeasured and kernels.machine_rests():
            kernels.measure(self._unmeasured[:1], cancel=cancel)
            if not cancel.is_set():
                self._unmeasured = self._unmeasured[1:]
        elif not isinstance(reuse, ComposedTokens):
            return 0
        elif self._builder.calibrator.due:
            self._builder.calibrator.run(cancel)
        elif self._builder.shadow.due():
            self._check(reuse, request, prompt)
        return 0

    def _check(self, reuse: ComposedTokens, request: Request, prompt: Prompt) -> None:
        shadow = self._builder.shadow
        shadow.skip()
        known = self._looks.known(request, prompt)
        found = reuse.against_full(prompt, edges=edges_of(known))
        if found is not None:
            shadow.observe(found)
        if shadow.verdict == "alarm":
            self._builder.close()
            self._builder.fall_back(shadow.reason)
            self._context = self._reuse = None

    def status(self) -> dict[str, Any]:
        """How prompts are reused and why, what is cached, what was predicted and came true."""
        return {
            "reuse": self._builder.status() | (self._reuse.status() if self._reuse else {}),
            "threads": self._generator.pace.threads if self._generator.pace else self._threads,
            "kernels": self._kernels,
            "adapter": self._model.adapter.path.name if self._model.adapter else None,
        }

    def plan(self, request: Request) -> Plan:
        """What `suggest` would place, without running the model. Raises ContextTooLong, UsageError.

        Documents whose keys and values are known already have the origin "loaded".
        """
        prompt = self._assemble(request)
        if not isinstance(self._reuse, ComposedTokens):
            return prompt.plan
        return replace(prompt.plan, documents=self._reuse.known(prompt))

    def count(self, text: str) -> int:
        """Tokens of `text`."""
        return len(self._model.encode(text, special=False))

    def close(self) -> None:
        """Free the context and the model. Idempotent."""
        self._builder.close()
        self._model.close()

    def suggest(
        self, request: Request, *, on_text: OnText | None = None, cancel: Cancel | None = None
    ) -> Suggestion:
        """Fill the hole. A cancel or the budget's end is answered within one node of the graph.

        Raises ContextTooLong, UsageError (layout), EngineStopped, EngineError.
        """
        context, reuse = self._opened()
        with Alarm(context.abort, cancel or Cancel(), budget_ms=request.budget_ms) as alarm:
            stopper = Stopper(request)
            prompt = self._assemble(request)
            account, run = Account(), Run()
            known = self._looks.known(request, prompt)
            looking = self._looks.growing(reuse, context, request, prompt, known)
            try:
                logits = reuse.run(prompt, account, patience_ms=request.patience_ms, edges=edges_of(known))
                self._generator.generate(
                    request,
                    prompt,
                    logits,
                    looking or reuse,
                    run=run,
                    alarm=alarm,
                    stopper=stopper,
                    on_text=on_text,
                    set_threads=context.set_threads,
                )
            except Aborted:
                run.stop = "cancelled" if alarm.cancelled else "time"
                run.text = stopper.finish(run.text).text
            finally:
                if looking is not None:
                    looking.close()
            suggestion = self._suggestion(request, prompt, account, run, alarm)
        if account.work is not None and run.first_token_ms:
            self._builder.cost.observe(account.work, run.first_token_ms)
            self._builder.shadow.finished()
        debug.show(prompt, suggestion)
        debug.show_heads(request, self._builder.choice, looking)
        return suggestion

    def _suggestion(
        self, request: Request, prompt: Prompt, account: Account, run: Run, alarm: Alarm
    ) -> Suggestion:
        text = suggest.finish(run.text, request)
        spoken = text or run.stop in ("cancelled", "time", "length")
        return Suggestion(
            text=text,
            stop=run.stop if spoken else "empty",
            documents=tuple(account.uses),
            tokens_computed=account.computed,
            tokens_reused=account.reused,
            tokens_loaded=account.loaded,
            tokens_moved=account.moved,
            tokens_generated=run.generated,
            tokens_drafted=run.drafted,
            tokens_accepted=run.accepted,
            load_ms=account.load_ms,
            predicted_ms=account.predicted_ms,
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
            request,
            self._model,
            self._family,
            context_tokens=room,
            vocabulary=self._vocabulary,
            composed=self._builder.composition,
        )

    def _opened(self) -> tuple[Context, Reuse]:
        """The context and what reuses it; made at first use, so that counting and planning need none."""
        if self._model.closed:
            raise EngineStopped("the engine was closed", hint="open it again to get suggestions")
        if self._context is None or self._reuse is None:
            self._context, self._reuse = self._builder.open()
        return self._context, self._reuse

    @cached_property
    def _unmeasured(self) -> tuple[str, ...]:
        """Types of weights for which the kernels of the next start are not chosen yet."""
        return () if self._settings.kernels == "stock" else kernels.due(self._model.path)

    @cached_property
    def _family(self) -> Family:
        return prompts.detect(self._model.metadata, self._model.special)

    @cached_property
    def _vocabulary(self) -> Vocabulary:
        return Vocabulary(self._model.pieces())

    @cached_property
    def _looks(self) -> Looks:
        """Of the heads that the context was given, so not before it is open."""
        return Looks(self._builder.choice, self._model.piece)

    @cached_property
    def _generator(self) -> Generator:
        composes = self._builder.gate.mode == "documents"
        drafts = OUTPUTS - 1 if composes and self._settings.drafts == "on" else 0
        pace = Pace(self._threads) if composes and not self._settings.threads else None
        return Generator(self._model, self._vocabulary, drafts=drafts, pace=pace)
