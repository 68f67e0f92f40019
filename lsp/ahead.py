"""While the person reads or thinks: the engine encodes what the next suggestion will read."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from engine.errors import SteerwayError
from lsp.asking import Hole, helpful, request_at, unwanted
from lsp.session import Session

log = logging.getLogger(__name__)

_PAUSE_S = 0.4


class Ahead:
    """Prepares the file that was edited last, as it stands after each pause. Belongs to the event loop."""

    def __init__(self, session: Session, *, pause_s: float = _PAUSE_S) -> None:
        self._session = session
        self._pause_s = pause_s
        self._uri = ""
        self._task: asyncio.Task[None] | None = None

    def touched(self, uri: str) -> None:
        """The file was opened or changed: what stands there now is worth encoding, once nobody types."""
        self._uri = uri
        self._begin(self._pause_s)

    def read_again(self, root: Path | None) -> None:
        """The documents of the workspace at `root` are others now: another step, or other text."""
        file = self._session.files.get(self._uri)
        if file is not None and root is not None and file.path and file.path.is_relative_to(root):
            self._begin(0.0)

    def begin(self) -> None:
        """The model is there."""
        self._begin(0.0)

    def close(self) -> None:
        """Nothing more. Idempotent."""
        try:
            if self._task is not None:
                self._task.cancel()
        except RuntimeError:
            # The loop is closed, and the task with it.
            pass

    def _begin(self, pause_s: float) -> None:
        if self._task is not None:
            self._task.cancel()
        if self._uri:
            self._task = asyncio.ensure_future(self._prepare(self._uri, pause_s))

    async def _prepare(self, uri: str, pause_s: float) -> None:
        session = self._session
        await asyncio.sleep(pause_s)
        file = session.files.get(uri)
        if file is None or session.model.why_not or unwanted(session, file):
            return
        context = await session.contexts.of(file.path)
        if session.files.get(uri) is not file:
            return
        hole = Hole(file, file.cursor, file.cursor)
        try:
            session.model.prepare(request_at(session, helpful(context, hole), hole, patient=False))
        except SteerwayError as error:
            log.info("nothing is prepared: %s", error)
