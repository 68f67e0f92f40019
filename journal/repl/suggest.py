"""Ghost text: the engine's suggestion for the line being typed, read from the step's documents."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from prompt_toolkit.auto_suggest import AutoSuggest, AutoSuggestFromHistory, Suggestion
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.document import Document

from engine.errors import SteerwayError
from engine.privacy.strings import around
from engine.request import Request
from engine.runtime.job import Serving
from engine.settings import load
from journal.context import snapshot
from journal.repl.session import Session

_PAUSE_S = 0.12
_MAX_TOKENS = 24
_RECENT = 12
_CLIENT = "shell"


class EngineSuggest(AutoSuggest):
    """From history when that has the line, else from the model. `on_error` hears the first error."""

    def __init__(self, session: Session, engine: Serving, on_error: Callable[[str], None]) -> None:
        self._session = session
        self._engine = engine
        self._history = AutoSuggestFromHistory()
        self._on_error = on_error
        self._patience_ms: float | None = None
        self._broken = False

    def get_suggestion(self, buffer: Buffer, document: Document) -> Suggestion | None:
        return self._history.get_suggestion(buffer, document)

    async def get_suggestion_async(self, buff: Buffer, document: Document) -> Suggestion | None:
        found = self._history.get_suggestion(buff, document)
        if found or self._broken or not document.text.strip() or document.text.startswith(":"):
            return found
        await asyncio.sleep(_PAUSE_S)
        if buff.document.text != document.text or not document.is_cursor_at_the_end:
            return None
        return await self._ask(document.text)

    async def _ask(self, text: str) -> Suggestion | None:
        try:
            request = await asyncio.to_thread(self.request, text)
            job = self._engine.submit(request, client=_CLIENT)
            answer = await asyncio.wrap_future(job.future)
        except SteerwayError as error:
            self._broken = True
            self._on_error(f"no suggestions: {error}")
            return None
        line = answer.text.split("\n", 1)[0]
        return Suggestion(line) if line.strip() else None

    def request(self, text: str) -> Request:
        """The hole at the end of what was run here and is being typed."""
        if self._patience_ms is None:
            self._patience_ms = float(load().patience_ms)
        session = self._session
        shot = snapshot(session.journal, path=session.path, workspace=session.workspace, step=session.step)
        python = session.mode == "python"
        earlier = [ran.text for ran in session.ran[-_RECENT:] if ran.kind == session.mode and ran.ok]
        language = "python" if python else "bash"
        prefix, suffix = around("\n".join([*earlier, text]), "", language)
        return Request(
            prefix=prefix,
            suffix=suffix,
            path="session.ipy" if python else "session.sh",
            language=language,
            documents=shot.documents,
            max_tokens=_MAX_TOKENS,
            stop_at="line",
            patience_ms=self._patience_ms,
        )
