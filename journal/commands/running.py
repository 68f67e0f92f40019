"""What the engine that runs says: how documents are reused, and which of a step's are encoded already."""

from __future__ import annotations

from concurrent.futures import TimeoutError as FutureTimeout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import SteerwayError

if TYPE_CHECKING:
    from engine.runtime.probe import Library
    from engine.settings import Settings
    from journal.workspace import Workspace

_ANSWER_S = 3.0


def reuse_report(
    path: Path | None, workspace: Workspace, settings: Settings, library: Library
) -> dict[str, Any]:
    """`running`, `reuse` (as engine/standing.py has it) and `documents` of the current step.

    From the engine that runs, else as it would be. Nothing is started or loaded; what fails is said in
    `reuse["reason"]`.
    """
    nothing: dict[str, Any] = {"running": False, "reuse": {}, "documents": []}
    if settings.model.partition(":")[0] in ("remote", "fake"):
        return nothing
    try:
        status = running(settings)
        if status is None:
            return nothing | {"reuse": _expected(settings, library)}
        reuse = status.get("engine", {}).get("reuse") or _expected(settings, library)
        return {"running": True, "reuse": reuse, "documents": encoded(path, workspace, settings)}
    except SteerwayError as error:
        return nothing | {"reuse": {"mode": "unknown", "reason": str(error)}}


def running(settings: Settings) -> dict[str, Any] | None:
    """The status of the process that serves the settings' model; None when there is none that answers."""
    from engine import services
    from engine.errors import EngineUnavailable
    from engine.open import wanted

    try:
        name = wanted(None, settings).name
        return next((found.status for found in services.find() if found.name == name), None)
    except EngineUnavailable:
        return None


def encoded(path: Path | None, workspace: Workspace, settings: Settings) -> list[dict[str, Any]]:
    """The current step's documents, each with its `name`, `tokens` and whether it is `encoded` already.

    Empty without a journal, or when the engine has no time to answer.
    """
    from dataclasses import replace

    from engine.open import wanted
    from engine.runtime.client import EngineClient
    from journal import files
    from journal.context import snapshot
    from journal.counting import counting_request

    found = path or workspace.active_journal()
    if found is None:
        return []
    journal, _ = files.read(found)
    step = workspace.current_step(found, journal)
    taken = snapshot(journal, path=found, workspace=workspace, step=step)
    # The header a prompt starts with names the repository, and rows hold for one header.
    request = replace(counting_request(taken.documents, settings), repository=workspace.root.name)
    try:
        with EngineClient(lambda: wanted(None, settings), name="status") as client:
            plan = client.plan(request).result(_ANSWER_S)
    except (FutureTimeout, SteerwayError):
        return []
    return [
        {"name": use.name, "tokens": use.tokens, "encoded": use.origin in ("loaded", "reused")}
        for use in plan.documents
    ]


def _expected(settings: Settings, library: Library) -> dict[str, Any]:
    from engine.models import provision
    from engine.standing import standing

    return standing(provision.locate(settings.model), settings, library)
