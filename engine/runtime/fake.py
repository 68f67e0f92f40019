"""A deterministic engine without a model: it copies what followed the same words in its context.

It obeys the whole seam (documents, budgets, cancellation at every token, streaming, reuse counts), so that
what stands above can be tested in milliseconds, and context visibly matters: the continuation is looked
up by n-gram, first in the most relevant document.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from engine import suggest
from engine.decode.stop import Stopper
from engine.documents import Document
from engine.errors import ContextTooLong, EngineStopped
from engine.request import Cancel, DocumentUse, Plan, Request, StopReason, Suggestion
from engine.runtime.base import EngineInfo, OnText

_TOKEN = re.compile(r"\n|[ \t\r\f\v]+|\w+|[^\w\s]")
_WORD = re.compile(r"\w+")
_LONGEST_MATCH_TOKENS = 8
_SHORTEST_MATCH_TOKENS = 2
_NAP_MS = 2.0


class FakeEngine:
    """An Engine whose tokens are words, blanks and signs.

    `token_delay_ms` is waited before each generated token, `prompt_delay_ms` for each computed prompt
    token; both end at a cancel. `context_tokens` bounds the prompt and the output together.
    """

    def __init__(
        self, *, token_delay_ms: float = 0.0, prompt_delay_ms: float = 0.0, context_tokens: int = 8192
    ) -> None:
        self._token_delay_ms = token_delay_ms
        self._prompt_delay_ms = prompt_delay_ms
        self._context_tokens = context_tokens
        self._cached: list[str] = []
        self._closed = False

    @property
    def info(self) -> EngineInfo:
        """What is running."""
        return EngineInfo("fake", "fake", "fake", self._context_tokens)

    def count(self, text: str) -> int:
        """Words, blanks and signs in `text`."""
        return len(_TOKEN.findall(text))

    def prepare(self, request: Request, *, cancel: Cancel) -> int:
        """Nothing is worth preparing: 0."""
        return 0

    def status(self) -> dict[str, Any]:
        """Nothing is cached between requests."""
        return {}

    def close(self) -> None:
        """Forget everything. Idempotent."""
        self._closed = True
        self._cached = []

    def plan(self, request: Request) -> Plan:
        """What would be placed. Raises ContextTooLong when not even the cursor's line fits."""
        return self._place(request)[0]

    def suggest(
        self, request: Request, *, on_text: OnText | None = None, cancel: Cancel | None = None
    ) -> Suggestion:
        """Copy what followed the same words in the documents, the most relevant (last) first."""
        started = time.monotonic()
        if self._closed:
            raise EngineStopped("the engine was closed", hint="open it again to get suggestions")
        cancel = cancel or Cancel()
        plan, placed = self._place(request)
        prompt = [token for part in placed for token in part]
        reused = _common(self._cached, prompt)
        computed = self._compute(prompt, reused, cancel)
        run = _Run(request, started, cancel, on_text)
        if computed < len(prompt) - reused:
            run.stop = "cancelled"
        else:
            run.copy(_Lookup([*placed[:-1], _TOKEN.findall(request.prefix)]), self._token_delay_ms)
        return Suggestion(
            text=run.text,
            stop=run.stop,
            documents=_with_origin(plan.documents, reused),
            tokens_computed=computed,
            tokens_reused=reused,
            tokens_generated=run.tokens,
            first_token_ms=run.first_token_ms,
            total_ms=_since(started),
            layout="fake",
            model="fake",
            version=request.version,
        )

    def _place(self, request: Request) -> tuple[Plan, list[list[str]]]:
        """The plan, and the tokens of each document and of the file (last), cut to the budget."""
        budget = min(
            request.context_tokens or self._context_tokens, self._context_tokens - request.max_tokens
        )
        prefix, suffix = _TOKEN.findall(request.prefix), _TOKEN.findall(request.suffix)
        if budget < 1 + len(_TOKEN.findall(request.prefix.rsplit("\n", 1)[-1])):
            raise ContextTooLong(
                f"the cursor's line does not fit into {budget} tokens", hint="ask for fewer tokens"
            )
        suffix = suffix[: max(0, min(len(suffix), budget // 4, budget - len(prefix)))]
        prefix = prefix[-(budget - len(suffix)) :]
        left = budget - len(prefix) - len(suffix)
        placed: list[list[str]] = []
        uses: list[DocumentUse] = []
        for document in reversed(request.documents):
            tokens = _render(document)
            kept = tokens[: min(len(tokens), left)]
            left -= len(kept)
            placed.insert(0, kept)
            uses.insert(0, _use(document, len(kept), len(tokens) - len(kept)))
        file = prefix + suffix
        placed.append(file)
        total = sum(len(part) for part in placed)
        text = "".join(token for part in placed for token in part)
        return Plan(tuple(uses), len(file), total, budget, "fake", text), placed

    def _compute(self, prompt: list[str], reused: int, cancel: Cancel) -> int:
        """Take the time of the tokens that are new; what was done stays cached. Returns how many."""
        end = reused
        self._cached = prompt[:reused]
        while end < len(prompt) and not cancel.is_set():
            _nap(self._prompt_delay_ms, cancel)
            end += 1
        self._cached = prompt[:end]
        return end - reused


class _Lookup:
    """The token that followed the longest equal run of tokens, latest occurrence first."""

    def __init__(self, parts: list[list[str]]) -> None:
        self._tokens = [token for part in parts for token in [*part, "\n"]][:-1]

    def heal(self) -> str:
        """Take a half-typed word off the end; it is the beginning of the first token to come."""
        if self._tokens and _WORD.fullmatch(self._tokens[-1]):
            return self._tokens.pop()
        return ""

    def next(self, beginning: str) -> str | None:
        """The next token, one that starts with `beginning`; it joins the context. None: nothing known."""
        tokens = self._tokens
        for length in range(min(_LONGEST_MATCH_TOKENS, len(tokens)), _SHORTEST_MATCH_TOKENS - 1, -1):
            tail = tokens[-length:]
            for start in range(len(tokens) - length - 1, -1, -1):
                token = tokens[start + length]
                if token.startswith(beginning) and tokens[start : start + length] == tail:
                    tokens.append(token)
                    return token
        return None


class _Run:
    """One generation: its text, why it ended, its times."""

    def __init__(self, request: Request, started: float, cancel: Cancel, on_text: OnText | None) -> None:
        self.text = ""
        self.stop: StopReason = "empty"
        self.tokens = 0
        self.first_token_ms = 0.0
        self._request = request
        self._started = started
        self._cancel = cancel
        self._on_text = on_text
        self._stopper = Stopper(request)

    def copy(self, lookup: _Lookup, delay_ms: float) -> None:
        for token in self._tokens(lookup, delay_ms):
            verdict = self._stopper.feed(self.text + token, tokens=self.tokens)
            self.text = verdict.text
            self.first_token_ms = self.first_token_ms or _since(self._started)
            if self._on_text is not None:
                self._on_text(self.text)
            if verdict.reason is not None:
                self.stop = verdict.reason
                break
        self.text = suggest.finish(self.text, self._request)
        if not self.text and self.stop not in ("cancelled", "time", "length"):
            self.stop = "empty"

    def _tokens(self, lookup: _Lookup, delay_ms: float) -> Iterator[str]:
        beginning = lookup.heal()
        while True:
            _nap(delay_ms, self._cancel)
            if self._cancel.is_set():
                self._end("cancelled")
                return
            token = lookup.next(beginning)
            if token is None:
                self._end("eos" if self.text else "empty")
                return
            self.tokens += 1
            yield token[len(beginning) :]
            beginning = ""

    def _end(self, reason: StopReason) -> None:
        verdict = self._stopper.finish(self.text, reason=reason)
        self.text, self.stop = verdict.text, verdict.reason or reason


def _render(document: Document) -> list[str]:
    return _TOKEN.findall(f"{document.name}\n{document.text.rstrip()}\n")


def _use(document: Document, tokens: int, cut: int) -> DocumentUse:
    return DocumentUse(document.name, document.kind, tokens, "computed" if tokens else "skipped", cut)


def _with_origin(uses: tuple[DocumentUse, ...], reused: int) -> tuple[DocumentUse, ...]:
    marked = []
    end = 0
    for use in uses:
        end += use.tokens
        marked.append(replace(use, origin="reused") if use.tokens and end <= reused else use)
    return tuple(marked)


def _common(left: list[str], right: list[str]) -> int:
    """How many leading tokens are equal."""
    pairs = zip(left, right, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(left), len(right)))


def _nap(delay_ms: float, cancel: Cancel) -> None:
    """Wait, but not past a cancel."""
    end = time.monotonic() + delay_ms / 1000
    while (left := end - time.monotonic()) > 0 and not cancel.is_set():
        time.sleep(min(left, _NAP_MS / 1000))


def _since(started: float) -> float:
    return (time.monotonic() - started) * 1000
