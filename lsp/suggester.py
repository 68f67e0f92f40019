"""From a cursor to answers: refuse, look up, wait, ask the model, check that nothing moved."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, replace
from typing import Any, Literal

from engine.errors import ContextTooLong, EngineError, ModelError
from engine.request import Request, Suggestion
from engine.runtime.job import Job
from lsp.asking import Hole, helpful, request_at, unwanted
from lsp.cache import Place
from lsp.contexts import Context
from lsp.history import Outcome, Record, left_out, now
from lsp.model import explain
from lsp.session import Session

log = logging.getLogger(__name__)

Trigger = Literal["automatic", "invoked", "menu"]

_ALTERNATIVE_BUDGET_MS = 1500.0
_ALTERNATIVE_TEMPERATURE = 0.7


@dataclass(frozen=True)
class Answer:
    r"""Suggestions (texts that go in after `given`, lines ending in `\n`) and the record's number."""

    texts: tuple[str, ...]
    number: int


@dataclass(frozen=True)
class _Running:
    """A request the model is at. `dropped` resolves when nobody wants its answer any more."""

    uri: str
    job: Job
    dropped: asyncio.Future[None]

    def drop(self) -> None:
        self.job.cancel()
        if not self.dropped.done():
            self.dropped.set_result(None)


class _End(Exception):
    """The request ends here without a suggestion."""

    def __init__(self, outcome: Outcome, reason: str) -> None:
        super().__init__(reason)
        self.outcome = outcome
        self.reason = reason


class Suggester:
    """Serves one session. The newest request wins; a change of its file ends a request."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._newest = 0
        self._running: dict[int, _Running] = {}
        session.on_change.append(self.drop)
        session.working = lambda: len(self._running)

    def drop(self, uri: str) -> None:
        """The file moved: what is under way for it is of no use."""
        for running in self._running.values():
            if running.uri == uri:
                running.drop()

    async def suggest(self, hole: Hole, trigger: Trigger) -> Answer:
        """Answer, or say nothing; either way leave a record. Cancellation ends the model's work too."""
        number = self._newest = self._session.history.next_number()
        work = _Work(self, hole, trigger, number)
        try:
            texts = await work.texts()
        except _End as end:
            work.finish(end.outcome, end.reason)
            return Answer((), number)
        except asyncio.CancelledError:
            work.finish("cancelled", "the editor cancelled it")
            raise
        except Exception as error:
            # A mistake of ours must not pop up at every keystroke: it is recorded and logged once.
            log.exception("request %d", number)
            self._session.once(explain(error))
            work.finish("failed", explain(error))
            return Answer((), number)
        return Answer(texts, number)

    def is_newest(self, number: int) -> bool:
        """Whether no request came after this one."""
        return number == self._newest

    async def run(self, number: int, uri: str, request: Request) -> Suggestion:
        """The model's suggestion; cancelled or dropped, this ends at once and the model at its next token."""
        for older in self._running.values():
            older.drop()
        loop = asyncio.get_running_loop()
        running = _Running(uri, self._session.model.submit(request), loop.create_future())
        answer = asyncio.wrap_future(running.job.future)
        self._running[number] = running
        try:
            either: list[asyncio.Future[Any]] = [answer, running.dropped]
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            return answer.result() if answer.done() else Suggestion("", "cancelled")
        finally:
            # Whatever ended the wait: an answer that nobody waits for must not come to a closed loop.
            running.drop()
            answer.cancel()
            self._running.pop(number, None)


class _Work:
    """One request on its way, and the record it leaves."""

    def __init__(self, suggester: Suggester, hole: Hole, trigger: Trigger, number: int) -> None:
        self._suggester = suggester
        self._session = suggester._session
        self._hole = hole
        self._trigger = trigger
        self._number = number
        self._started = time.monotonic()
        file = hole.file
        line = file.text.position(hole.start, "utf-32")[0] + 1
        name = str(file.path or file.uri)
        self._record = Record(number, now(), name, line, file.language, trigger, "nothing")

    async def texts(self) -> tuple[str, ...]:
        self._refuse()
        context = await self._context()
        prefix, suffix = self._hole.sides
        place = Place.of(self._scope(context), prefix, suffix)
        request = request_at(self._session, context, self._hole, patient=self._trigger == "invoked")
        text, reason = self._session.cache.get(place), "known from an earlier request"
        if text is None:
            await self._wait()
            suggestion = await self._ask(request)
            text, reason = suggestion.text, _why(suggestion)
            # What the clock cut short, or was said without all documents, is not the answer: the next try
            # finds more of them computed.
            if suggestion.stop != "time" and not left_out(suggestion):
                self._session.cache.put(place, text)
        texts = [text]
        if self._trigger == "invoked" and text.strip():
            texts += await self._alternative(request, text)
        return self._answer(texts, reason)

    def finish(self, outcome: Outcome, reason: str) -> None:
        total_ms = round((time.monotonic() - self._started) * 1000, 1)
        self._record = replace(self._record, outcome=outcome, reason=reason, total_ms=total_ms)
        self._session.history.add(self._record)

    def _refuse(self) -> None:
        session = self._session
        if reason := unwanted(session, self._hole.file):
            raise _End("refused", reason)
        session.model.start()
        if reason := session.model.why_not:
            raise _End("waiting" if session.model.state == "loading" else "failed", reason)

    async def _context(self) -> Context:
        context = await self._session.contexts.of(self._hole.file.path)
        self._still_there()
        context = helpful(context, self._hole)
        names = tuple(document.name for document in context.documents)
        self._record = replace(self._record, step=context.step, documents=names)
        return context

    def _scope(self, context: Context) -> str:
        read = "".join(document.digest for document in context.documents)
        return f"{self._hole.file.uri}\0{self._session.model.name}\0{self._session.max_tokens}\0{read}"

    async def _wait(self) -> None:
        if self._trigger != "invoked" and self._session.settings.debounce_ms:
            await asyncio.sleep(self._session.settings.debounce_ms / 1000)
        self._still_there()

    def _still_there(self) -> None:
        file = self._hole.file
        if self._session.files.get(file.uri) is not file:
            raise _End("stale", "the file changed before there was an answer")
        if not self._suggester.is_newest(self._number):
            raise _End("superseded", "a newer request came")

    async def _ask(self, request: Request) -> Suggestion:
        try:
            suggestion = await self._suggester.run(self._number, self._hole.file.uri, request)
        except Exception as error:
            # What a person can mend is shown; too long a line at the cursor is not such a thing.
            mendable = isinstance(error, ModelError | EngineError) and not isinstance(error, ContextTooLong)
            self._session.once(explain(error), show=mendable)
            raise _End("failed", explain(error)) from error
        self._record = self._record.timed(suggestion)
        self._still_there()
        if suggestion.stop == "cancelled":
            raise _End("superseded", "the model was needed for a newer request")
        return suggestion

    async def _alternative(self, request: Request, first: str) -> list[str]:
        """A sampled second opinion, when the first came fast enough to afford one."""
        if self._record.engine_ms > _ALTERNATIVE_BUDGET_MS:
            return []
        sampled = replace(
            request,
            temperature=_ALTERNATIVE_TEMPERATURE,
            seed=self._number,
            budget_ms=_ALTERNATIVE_BUDGET_MS,
        )
        try:
            other = await self._suggester.run(self._number, self._hole.file.uri, sampled)
        except Exception as error:
            self._session.once(explain(error))
            return []
        self._still_there()
        usable = other.stop not in ("cancelled", "time") and other.text.strip() and other.text != first
        return [other.text] if usable else []

    def _answer(self, texts: list[str], reason: str) -> tuple[str, ...]:
        shown = tuple(text for text in texts if text.strip())
        characters = len(shown[0]) if shown else 0
        self._record = replace(self._record, characters=characters, model=self._session.model.name)
        self.finish("shown" if shown else "nothing", reason)
        if shown:
            self._session.statistics.shown(self._session.history.last or self._record)
        return shown


def _why(suggestion: Suggestion) -> str:
    if suggestion.text.strip():
        return f"ended at {suggestion.stop}"
    return {
        "empty": "the model had nothing to say here",
        "eos": "the model had nothing to say here",
        "suffix": "what the model said stands after the cursor already",
        "time": "the time budget ran out",
    }.get(suggestion.stop, f"nothing worth showing was left (ended at {suggestion.stop})")
