"""workspace/executeCommand steerway.status: where everything stands, and "why no suggestion?"."""

from __future__ import annotations

from typing import Any

from lsp.model import explain
from lsp.session import Session

COMMAND = "steerway.status"


async def handle(session: Session, arguments: list[Any]) -> dict[str, Any]:
    """`why` in one line; then the model, each workspace's context, the last requests."""
    return {
        "why": why(session),
        "model": _model(session),
        "workspaces": session.contexts.report(),
        "settings": _settings(session),
        "client": {"name": session.client.name, "inlineCompletion": session.client.inline_completion,
                   "encoding": session.client.encoding},
        "working": session.working(),
        "cached": len(session.cache),
        **session.history.report(),
    }  # fmt: skip


def why(session: Session) -> str:
    """What became of the last request, in words."""
    if not session.settings.enable:
        return "suggestions are switched off: steerway.enable"
    if session.model.state == "failed":
        return session.model.why_not
    last = session.history.last
    if last is None:
        return session.model.why_not or "no suggestion was asked for yet"
    where = f"{last.file}:{last.line}"
    without = f"; without {', '.join(last.skipped)}, not encoded yet" if last.skipped else ""
    if last.outcome == "shown":
        shown = f"{last.characters} characters were shown in {last.total_ms:.0f} ms ({last.reason})"
        return f"{where}: {shown}{without}"
    return f"{where}: nothing was shown: {last.reason}{without}"


def _model(session: Session) -> dict[str, Any]:
    model, info = session.model, session.model.info
    found: dict[str, Any] = {"state": model.state, "name": model.name}
    if info is not None:
        found |= {
            "backend": info.backend,
            "contextTokens": info.context_tokens,
            "threads": info.threads,
            "features": list(info.features),
        }
    if model.error is not None:
        found["error"] = explain(model.error)
    return found


def _settings(session: Session) -> dict[str, Any]:
    settings = session.settings
    return {
        "enable": settings.enable,
        "languages": settings.languages,
        "maxTokens": session.max_tokens,
        "debounceMs": settings.debounce_ms,
        "journal": settings.journal,
        "step": settings.step,
    }
