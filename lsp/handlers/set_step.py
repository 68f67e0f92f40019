"""workspace/executeCommand steerway.setStep: another step of the journal becomes the current one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engine.errors import UsageError
from lsp.session import Session, path_of

COMMAND = "steerway.setStep"


async def handle(session: Session, arguments: list[Any]) -> dict[str, Any]:
    """Arguments: the step (id, title or number) and, with several workspaces open, the URI of a file.

    Answers once the next request will see the new step. Raises a SteerwayError.
    """
    if not arguments or not isinstance(arguments[0], str | int):
        raise UsageError("no step was named", hint=f"{COMMAND} takes a step's id, title or number")
    uri = arguments[1] if len(arguments) > 1 else None
    title = await session.contexts.set_step(_file(session, uri), str(arguments[0]))
    return {"step": title}


def _file(session: Session, uri: object) -> Path:
    files = [uri] if isinstance(uri, str) else list(session.files)
    for each in reversed(files):
        if path := path_of(each):
            return path
    raise UsageError("no workspace is open", hint="open a file of it first, or name one by its URI")
