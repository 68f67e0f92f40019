"""workspace/didChangeConfiguration, and asking the editor for `steerway.*` (workspace/configuration)."""

from __future__ import annotations

from typing import Protocol

from lsp.session import Session


class Asker(Protocol):
    """The part of the server that asks the editor."""

    async def ask_configuration(self) -> object:
        """The editor's `steerway` section; None when it has none or does not say."""
        ...


async def handle(session: Session, asker: Asker, pushed: object) -> None:
    """Take the settings the editor pushed, or better, those it has when asked."""
    asked = await asker.ask_configuration() if session.client.configuration else None
    session.configure(pushed, asked)
