"""The debug ladder on stderr: STEERWAY_DEBUG=1 timings, 2 also llama.cpp's log, 3 also the prompt."""

from __future__ import annotations

import os
import sys

from engine.prompt import Prompt
from engine.request import Suggestion


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
