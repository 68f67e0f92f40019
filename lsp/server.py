"""The language server: which method is answered by which handler, over pygls. No behaviour of its own."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lsprotocol import types
from pygls.exceptions import JsonRpcException
from pygls.lsp.server import LanguageServer

from engine import settings as user_settings
from engine.errors import SteerwayError
from engine.runtime.job import Serving
from lsp.ahead import Ahead
from lsp.contexts import Context, Contexts, Reader, Watch
from lsp.handlers import (
    accepted,
    completion,
    configuration,
    did_change,
    did_close,
    did_open,
    initialize,
    inline_completion,
    set_step,
    status,
)
from lsp.model import Model, explain
from lsp.protocol import Protocol
from lsp.session import Session
from lsp.statistics import Statistics
from lsp.suggester import Suggester

log = logging.getLogger(__name__)

_PROGRESS_TOKEN = "steerway/loading"
_REQUEST_FAILED = -32803

Command = Callable[[Session, list[Any]], Awaitable[Any]]
_COMMANDS: tuple[tuple[str, Command], ...] = (
    (status.COMMAND, status.handle),
    (set_step.COMMAND, set_step.handle),
    (accepted.COMMAND, accepted.handle),
)


@dataclass(frozen=True)
class Parts:
    """What a server is made of; tests put their own in."""

    engine: Serving
    reader: Reader
    watcher: Callable[[Callable[[], None]], Watch]
    user: user_settings.Settings
    state: Path
    journal: Path | None = None


class SteerwayServer(LanguageServer):
    """One connection to one editor. `close` after `start_io` returns."""

    def __init__(self, parts: Parts) -> None:
        super().__init__("steerway", version("steerway"), protocol_cls=Protocol, max_workers=2)
        self.session = Session(
            editor=self,
            model=Model(parts.engine, self._model_changed),
            contexts=Contexts(parts.reader, parts.watcher, on_change=self._context_changed),
            statistics=Statistics(parts.state / "suggestions.db"),
            user=parts.user,
            forced_journal=parts.journal,
        )
        self.suggester = Suggester(self.session)
        self.ahead = Ahead(self.session)
        self.session.on_change.append(self.ahead.touched)
        self.shut_down = False
        self._loaded = asyncio.Event()
        _wire(self)

    def log(self, message: str, *, problem: bool = False) -> None:
        """A line in the editor's log, and in ours."""
        log.log(logging.WARNING if problem else logging.INFO, message)
        kind = types.MessageType.Warning if problem else types.MessageType.Info
        self.window_log_message(types.LogMessageParams(kind, message))

    def show(self, message: str) -> None:
        """A message the person sees."""
        self.window_show_message(types.ShowMessageParams(types.MessageType.Warning, message))

    def report_server_error(self, error: Exception, source: object) -> None:
        """A mistake of ours: logged once, where pygls would show it at every keystroke."""
        self.session.once(explain(error))

    async def ask_configuration(self) -> object:
        """The editor's `steerway` section; None when it has none or does not say."""
        items = [types.ConfigurationItem(section="steerway")]
        try:
            answer = await self.workspace_configuration_async(types.ConfigurationParams(items))
        except JsonRpcException as error:
            self.log(f"the editor does not say its settings: {error}")
            return None
        return answer[0] if answer else None

    def close(self) -> None:
        """Free everything. Idempotent."""
        self.session.close()
        self.ahead.close()

    async def begin(self) -> None:
        """After the handshake: load the model, under a progress bar where there is one; ask for settings."""
        self.session.model.start()
        await asyncio.gather(self._show_loading(), self._follow_settings())

    async def _follow_settings(self) -> None:
        if self.session.client.registers_configuration:
            method = types.WORKSPACE_DID_CHANGE_CONFIGURATION
            options = types.DidChangeConfigurationRegistrationOptions(section="steerway")
            registration = types.Registration("steerway-settings", method, options)
            try:
                await self.client_register_capability_async(types.RegistrationParams([registration]))
            except JsonRpcException as error:
                self.log(f"the editor will not tell when settings change: {error}")
        await configuration.handle(self.session, self, None)

    async def _show_loading(self) -> None:
        if not self.session.client.progress:
            return
        progress = self.work_done_progress
        try:
            await progress.create_async(_PROGRESS_TOKEN)
        except JsonRpcException:
            return
        progress.begin(
            _PROGRESS_TOKEN, types.WorkDoneProgressBegin(title="Steerway", message="loading the model")
        )
        await self._loaded.wait()
        error = self.session.model.error
        message = explain(error) if error else f"{self.session.model.name} is ready"
        progress.end(_PROGRESS_TOKEN, types.WorkDoneProgressEnd(message=message))

    def _model_changed(self) -> None:
        model = self.session.model
        if model.state == "ready":
            self.log(f"model {model.name} is ready")
            self.ahead.begin()
        if model.error is not None and model.state == "failed":
            self.session.once(explain(model.error), show=True)
        if model.state in ("ready", "failed"):
            self._loaded.set()

    def _context_changed(self, context: Context) -> None:
        self.ahead.read_again(context.root)
        for problem in context.problems:
            self.session.once(problem)
        if context.journal is not None:
            count = len(context.documents)
            self.log(f"{context.journal.name}: step {context.step or 'none'}, {count} documents")


def _wire(server: SteerwayServer) -> None:
    session = server.session
    feature = server.feature

    @feature(types.INITIALIZE)
    def _initialize(params: types.InitializeParams) -> None:
        initialize.handle(session, params)
        _offer(server)

    @feature(types.INITIALIZED)
    async def _initialized(params: types.InitializedParams) -> None:
        await server.begin()

    @feature(types.SHUTDOWN)
    def _shutdown(*params: Any) -> None:
        server.shut_down = True

    @feature(types.WORKSPACE_DID_CHANGE_CONFIGURATION)
    async def _configured(params: types.DidChangeConfigurationParams) -> None:
        await configuration.handle(session, server, params.settings)

    feature(types.TEXT_DOCUMENT_DID_OPEN)(functools.partial(did_open.handle, session))
    feature(types.TEXT_DOCUMENT_DID_CHANGE)(functools.partial(did_change.handle, session))
    feature(types.TEXT_DOCUMENT_DID_CLOSE)(functools.partial(did_close.handle, session))
    for name, handler in _COMMANDS:
        server.command(name)(_command(session, handler))


def _offer(server: SteerwayServer) -> None:
    """Inline completion to editors that have it, the completion menu to the others, never both to one."""
    session, suggester = server.session, server.suggester

    async def inline(params: types.InlineCompletionParams) -> types.InlineCompletionList:
        return await inline_completion.handle(session, suggester, params)

    async def menu(params: types.CompletionParams) -> types.CompletionList:
        return await completion.handle(session, suggester, params)

    if session.client.inline_completion:
        server.feature(types.TEXT_DOCUMENT_INLINE_COMPLETION, types.InlineCompletionOptions())(inline)
    else:
        server.feature(types.TEXT_DOCUMENT_COMPLETION, completion.OPTIONS)(menu)


def _command(session: Session, handler: Command) -> Callable[..., Awaitable[Any]]:
    async def run(*arguments: Any) -> Any:
        try:
            return await handler(session, list(arguments))
        except SteerwayError as error:
            raise JsonRpcException(message=str(error), code=_REQUEST_FAILED) from None

    return run
