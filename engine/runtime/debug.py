"""The debug ladder on stderr: STEERWAY_DEBUG=1 timings, 2 also llama.cpp's log and edges, 3 the prompt."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

from engine.injection.choice import Choice
from engine.prompt import Prompt
from engine.request import Request, Suggestion
from engine.runtime.looking import Looking
from engine.usedef import Name


def level() -> int:
    """The rung asked for, 0 to 3."""
    value = os.environ.get("STEERWAY_DEBUG", "")
    return int(value) if value.isdigit() else 0


def show(prompt: Prompt, suggestion: Suggestion) -> None:
    """Say on stderr what a request cost, when asked to."""
    rung = level()
    if rung >= 3:
        sys.stderr.write(f"--- prompt ({prompt.layout})\n{prompt.plan.text}\n--- end of prompt\n")
    if rung >= 1:
        sys.stderr.write(
            f"steerway: {suggestion.stop}: {suggestion.tokens_reused} reused, "
            f"{suggestion.tokens_computed} computed, {suggestion.tokens_generated} generated, "
            f"first token {suggestion.first_token_ms:.0f} ms, all {suggestion.total_ms:.0f} ms\n"
        )


def show_heads(request: Request, choice: Choice, looking: Looking | None) -> None:
    """Say on stderr which heads were given and what a request looked up, when asked to."""
    rung = level()
    if rung < 1 or not choice.heads:
        return
    given = ", ".join(f"{count} {kind}" for kind, count in choice.counts().items())
    line = f"steerway: heads given: {given}"
    if looking is not None:
        line += f"; {len(looking.known.lookups)} look-ups in the prompt, {len(looking.written())} generated"
    sys.stderr.write(line + "\n")
    if rung >= 2 and looking is not None:
        sys.stderr.writelines(f"steerway: {edge}\n" for edge in edges(request, looking))


def edges(request: Request, looking: Looking) -> Iterator[str]:
    """The look-ups as people read them: `use 12:5 total -> 8:1`, lines and columns from 1."""
    text = request.prefix + request.suffix
    for one in looking.known.lookups:
        yield _edge("use", _place(text, one.use.start), one.use.text, one.names, text)
    for end, found in looking.written():
        so_far = (looking.before + looking.text[:end]).decode("utf-8", "replace")
        name = found.use.text
        yield _edge("generated", _place(so_far, len(so_far) - len(name)), name, found.names, text)


def _edge(kind: str, place: str, name: str, definitions: tuple[Name, ...], text: str) -> str:
    return f"{kind} {place} {name} -> {', '.join(_place(text, each.start) for each in definitions)}"


def _place(text: str, at: int) -> str:
    return f"{text.count(chr(10), 0, at) + 1}:{at - text.rfind(chr(10), 0, at)}"
