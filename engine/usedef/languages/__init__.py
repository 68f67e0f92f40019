"""One file a language: what binds, what refers, and where scopes begin."""

from __future__ import annotations

from engine.usedef.languages import c, go, java, python, rust, script
from engine.usedef.walk import Rules

RULES: dict[str, Rules] = {
    "python": python.RULES,
    "javascript": script.RULES,
    "typescript": script.RULES,
    "tsx": script.RULES,
    "rust": rust.RULES,
    "go": go.RULES,
    "java": java.RULES,
    "c": c.RULES,
}
