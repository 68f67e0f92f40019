"""workspace/executeCommand steerway.accepted: the one standard sign that a suggestion was taken."""

from __future__ import annotations

from typing import Any

from lsprotocol import types

from lsp.session import Session

COMMAND = "steerway.accepted"


def acceptance(number: int) -> types.Command:
    """The command an editor runs after inserting suggestion `number`."""
    return types.Command(title="Suggestion accepted", command=COMMAND, arguments=[number])


async def handle(session: Session, arguments: list[Any]) -> None:
    """Count it; an unknown number (a server restarted since) is nothing to complain about."""
    number = arguments[0] if arguments else None
    if not isinstance(number, int):
        return
    if record := session.history.accept(number):
        session.statistics.accepted(record)
