"""Every engine process of this user: finding them, asking them, ending them."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from engine.errors import EngineUnavailable, SteerwayError
from engine.runtime import messages
from engine.runtime.address import runtime_folder
from engine.runtime.launch import Link
from engine.runtime.lock import held

ASKING = "engine status"
_ANSWER_S = 5.0
_GRACE_S = 10.0
_TERMINATED_S = 5.0
_POLL_S = 0.05
# A process that was killed drops its connections before its lock.
_DYING_S = 0.5


@dataclass(frozen=True)
class Found:
    """A process that holds an engine's lock: what it wrote there, and its status, or why it gives none."""

    name: str
    pid: int
    model: str
    lock: Path
    status: dict[str, Any] | None = None
    problem: str = ""


@dataclass(frozen=True)
class Ended:
    """How a process ended: "stopped", "was terminated", "was killed", or "did not end"."""

    found: Found
    how: str


def find() -> list[Found]:
    """Every engine that runs, by its lock. Raises EngineUnavailable where there can be none."""
    folder = runtime_folder()
    holders = [each for lock in sorted(folder.glob("*.lock")) if (each := _holder(lock)) is not None]
    return [found for each in holders if (found := _asked(each)) is not None]


def end(found: Found) -> Ended:
    """Ask it to stop, wait; then by SIGTERM, then by SIGKILL."""
    steps: tuple[tuple[Callable[[], None], float, str], ...] = (
        (lambda: _ask_to_stop(found), _GRACE_S, "stopped"),
        (lambda: _signal(found, signal.SIGTERM), _TERMINATED_S, "was terminated"),
        (lambda: _signal(found, signal.SIGKILL), _TERMINATED_S, "was killed"),
    )
    for act, wait_s, how in steps if found.status is not None else steps[1:]:
        act()
        if _gone(found, wait_s):
            return Ended(found, how)
    return Ended(found, "did not end")


def _holder(lock: Path) -> Found | None:
    """Who holds `lock`; None: nobody does, its process is dead."""
    if not held(lock):
        return None
    try:
        facts = json.loads(lock.read_bytes())
        return Found(lock.stem, int(facts["pid"]), str(facts["model"]), lock)
    except (OSError, ValueError, KeyError, TypeError):
        # It has the lock and has not written yet.
        return None


def _asked(found: Found) -> Found | None:
    """With its status, or why there is none; None when it ends just now."""
    try:
        with _link(found) as link:
            link.send(messages.Report(1))
            answer = link.receive(_ANSWER_S)
    except (OSError, EOFError, SteerwayError) as error:
        if _gone(found, _DYING_S):
            return None
        return replace(found, problem=f"it does not answer ({error or type(error).__name__})")
    if not isinstance(answer, messages.Reported):
        return replace(found, problem="it does not answer")
    return replace(found, status=answer.result)


def _link(found: Found) -> Link:
    return Link.open(found.lock.with_suffix(".sock"), service="", name=ASKING, answer_s=_ANSWER_S)


def _ask_to_stop(found: Found) -> None:
    try:
        with _link(found) as link:
            link.send(messages.Stop())
    except (OSError, EOFError, EngineUnavailable):
        # The signal comes next.
        pass


def _signal(found: Found, number: signal.Signals) -> None:
    # The lock is held by that very process: its id cannot have been given to another one.
    if held(found.lock):
        try:
            os.kill(found.pid, number)
        except ProcessLookupError:
            pass


def _gone(found: Found, wait_s: float) -> bool:
    end = time.monotonic() + wait_s
    while held(found.lock):
        if time.monotonic() > end:
            return False
        time.sleep(_POLL_S)
    return True
