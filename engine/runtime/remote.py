"""The engine behind an OpenAI-compatible `/v1/completions`: vLLM, llama-server, Ollama, a team's server."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import httpx

from engine.decode.stop import Stopper
from engine.errors import EngineStopped
from engine.prompt import PLAIN, Family, Prompt, assemble, budget
from engine.prompt.families import named
from engine.prompt.text import TextTokenizer
from engine.request import Cancel, Plan, Request, StopReason, Suggestion
from engine.runtime import completions
from engine.runtime.base import EngineInfo, OnText
from engine.runtime.completions import Chunk
from engine.runtime.wire import Wire
from engine.suggest import finish

CONTEXT_TOKENS = 4096
_LONGEST_STOPS = 4
_SILENT = ("cancelled", "time", "length")
_LONGEST_ANSWER_CHARACTERS = 65_536


class RemoteEngine:
    """An Engine on a server. Nothing is asked before the first use.

    `model` None is the first the server lists. A model whose name tells its family gets that family's
    FIM prompt as text, with control spellings in user text broken (`neutralise`); any other gets the
    documents as comments before the prefix, and the protocol's own `suffix` parameter. The key is read
    from `STEERWAY_REMOTE_KEY`, never from a file. Prompt and suggestion tokens are *estimated* unless
    the server reports usage. Every failure of the server is RemoteFailed.
    """

    def __init__(
        self,
        url: str,
        model: str | None = None,
        *,
        context_tokens: int | None = None,
        connect_timeout_s: float = 5.0,
        read_timeout_s: float = 60.0,
    ) -> None:
        self._base = completions.endpoint(url)
        self._name = model
        self._context_tokens = context_tokens
        self._timeout = httpx.Timeout(read_timeout_s, connect=connect_timeout_s)
        self._wire: Wire | None = None
        self._server: _Server | None = None
        self._closed = False

    @property
    def info(self) -> EngineInfo:
        """What is running; asks the server for its models when none was named."""
        server = self._known()
        family = server.family.name if server.family else "unknown"
        return EngineInfo("remote", server.model, family, server.context_tokens)

    def count(self, text: str) -> int:
        """Estimated tokens of `text`."""
        return TextTokenizer(PLAIN).count(text)

    def prepare(self, request: Request, *, cancel: Cancel) -> int:
        """The server keeps its own cache: 0."""
        return 0

    def status(self) -> dict[str, Any]:
        """Nothing is cached between requests."""
        return {}

    def close(self) -> None:
        """Close the connections. Idempotent."""
        self._closed = True
        if self._wire is not None:
            self._wire.close()
            self._wire = None

    def plan(self, request: Request) -> Plan:
        """What would be sent, in estimated tokens. Raises ContextTooLong, RemoteFailed."""
        return self._question(request).prompt.plan

    def suggest(
        self, request: Request, *, on_text: OnText | None = None, cancel: Cancel | None = None
    ) -> Suggestion:
        """Fill the hole. A cancel, the end of the statement or of the time closes the connection at once."""
        started = time.monotonic()
        stopper = Stopper(request)
        question = self._question(request)
        answer = _Answer(request, stopper, question.stops, on_text, cancel or Cancel(), started)
        self._connection().stream(question.body, answer)
        return self._suggestion(request, question, answer, started)

    def _suggestion(
        self, request: Request, question: _Question, answer: _Answer, started: float
    ) -> Suggestion:
        cancelled = answer.reason == "cancelled"
        text = "" if cancelled else finish(answer.text, request)
        prompt, cached = answer.prompt_tokens, answer.cached_tokens or 0
        total = prompt if prompt is not None else question.prompt.plan.prompt_tokens
        return Suggestion(
            text=text,
            stop=answer.reason if text or answer.reason in _SILENT else "empty",
            documents=question.prompt.uses,
            tokens_computed=max(0, total - cached),
            tokens_reused=min(cached, total),
            tokens_generated=answer.tokens,
            first_token_ms=answer.first_token_ms,
            total_ms=(time.monotonic() - started) * 1000,
            layout=question.prompt.layout,
            model=self._known().model,
            version=request.version,
        )

    def _question(self, request: Request) -> _Question:
        server = self._known()
        room = server.context_tokens - request.max_tokens
        body: dict[str, Any] = {
            "model": server.model,
            "max_tokens": request.max_tokens,
            "temperature": request.temperature,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if request.temperature > 0:
            body |= {"top_p": request.top_p, "seed": request.seed}
        if server.family is None:
            return _with_suffix(request, room, body)
        return _with_markers(request, room, body, server.family)

    def _known(self) -> _Server:
        if self._server is None:
            entry: dict[str, Any] = {"id": self._name}
            if not self._name:
                entry = self._connection().first_model()
            told = entry.get("max_model_len")
            size = told if isinstance(told, int) and told > 0 else CONTEXT_TOKENS
            model = str(entry["id"])
            self._server = _Server(model, named(model), self._context_tokens or min(size, CONTEXT_TOKENS))
        return self._server

    def _connection(self) -> Wire:
        if self._closed:
            raise EngineStopped("the engine was closed", hint="open it again to get suggestions")
        if self._wire is None:
            self._wire = Wire(self._base, self._timeout)
        return self._wire


@dataclass(frozen=True)
class _Server:
    """What is known of the server: its model, the family its name tells, its context."""

    model: str
    family: Family | None
    context_tokens: int


@dataclass(frozen=True)
class _Question:
    """A request as it is sent, the prompt it was made from, and spellings that end the answer."""

    body: dict[str, Any]
    prompt: Prompt
    stops: tuple[str, ...] = ()


def _with_markers(request: Request, room: int, body: dict[str, Any], family: Family) -> _Question:
    tokenizer = TextTokenizer(family)
    prompt = assemble(request, tokenizer, family, context_tokens=room)
    text = tokenizer.spell(prompt.tokens)
    stops = tuple(dict.fromkeys([*filter(None, [family.separator]), *family.stops, *family.markers]))
    return _Question(body | {"prompt": text, "stop": list(stops[:_LONGEST_STOPS])}, prompt, stops)


def _with_suffix(request: Request, room: int, body: dict[str, Any]) -> _Question:
    """For a family nobody knows: the server knows its own markers."""
    tokenizer = TextTokenizer(PLAIN)
    after = budget.after(
        request.suffix, int(room * budget.SUFFIX_SHARE), lambda text: tokenizer.encode(text, special=False)
    )
    layout = request.layout or "comments"
    prompt = assemble(
        replace(request, layout=layout), tokenizer, PLAIN, context_tokens=room - len(after.tokens)
    )
    body = body | {"prompt": tokenizer.spell(prompt.tokens)}
    if request.suffix.strip():
        body["suffix"] = tokenizer.spell(after.tokens)
    return _Question(body, replace(prompt, layout=f"{prompt.layout.partition('/')[0]}/suffix"))


class _Answer:
    """What came back so far, and whether it is enough."""

    def __init__(
        self,
        request: Request,
        stopper: Stopper,
        stops: tuple[str, ...],
        on_text: OnText | None,
        cancel: Cancel,
        started: float,
    ) -> None:
        self.text = ""
        self.reason: StopReason = "eos"
        self.first_token_ms = 0.0
        self.prompt_tokens: int | None = None
        self.cached_tokens: int | None = None
        self._completion_tokens: int | None = None
        self._finished: StopReason | None = None
        self._raw = ""
        self._stopper = stopper
        self._stops = stops
        self._on_text = on_text
        self._cancel = cancel
        self._started = started
        self._budget_ms = request.budget_ms

    @property
    def tokens(self) -> int:
        """Tokens generated: the server's count, or an estimate."""
        estimate = TextTokenizer(PLAIN).count(self._raw)
        return estimate if self._completion_tokens is None else self._completion_tokens

    def over(self) -> bool:
        """Whether waiting must end: cancelled, or out of time."""
        if self._cancel.is_set():
            self.reason = "cancelled"
            return True
        if self._budget_ms and (time.monotonic() - self._started) * 1000 >= self._budget_ms:
            self.reason, self.text = "time", self._stopper.finish(self._raw).text
            return True
        return False

    def take(self, chunk: Chunk) -> bool:
        """Add a chunk; True when no more is wanted."""
        self._usage(chunk)
        if self._cancel.is_set():
            self.reason = "cancelled"
            return True
        self._raw += chunk.text
        marker = min((self._raw.find(stop) for stop in self._stops if stop in self._raw), default=None)
        if marker is not None or len(self._raw) > _LONGEST_ANSWER_CHARACTERS:
            self._raw = self._raw[:marker]
            return self.end("eos")
        if chunk.text:
            self.first_token_ms = self.first_token_ms or (time.monotonic() - self._started) * 1000
        return self._judge()

    def end(self, reason: StopReason = "eos") -> bool:
        """The server has said all it will."""
        verdict = self._stopper.finish(self._raw, reason=self._finished or reason)
        self.reason, self.text = verdict.reason or reason, verdict.text
        return True

    def _usage(self, chunk: Chunk) -> None:
        if chunk.finish == "length":
            self._finished = "length"
        if chunk.prompt_tokens is not None:
            self.prompt_tokens, self.cached_tokens = chunk.prompt_tokens, chunk.cached_tokens
        if chunk.completion_tokens is not None:
            self._completion_tokens = chunk.completion_tokens

    def _judge(self) -> bool:
        verdict = self._stopper.feed(self._raw)
        if verdict.text != self.text:
            self.text = verdict.text
            if self._on_text is not None:
                self._on_text(self.text)
        if verdict.reason is not None:
            self.reason = verdict.reason
        return verdict.reason is not None
