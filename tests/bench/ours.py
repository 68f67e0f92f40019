"""Our engine as the head-to-heads ask it: in this process, in a home of its own, documents encoded once."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from engine.kv.gate import Gate
from engine.models import provision
from engine.open import open_engine
from engine.request import Cancel, Request, Suggestion
from engine.runtime.local import LocalEngine
from engine.settings import Settings

MODEL = "qwen2.5-coder-0.5b"
SMALL_MODEL = "smollm2-135m"


@dataclass(frozen=True)
class Timed:
    """A suggestion, and the milliseconds from the call to the first text, as the caller sees it."""

    suggestion: Suggestion
    first_token_ms: float

    @property
    def recomputed(self) -> int:
        """Tokens of documents that were computed for this request."""
        return sum(use.tokens for use in self.suggestion.documents if use.origin in ("computed", "skipped"))


def model_file(name: str) -> Path:
    """The GGUF file of a catalogue name or path, fetched when it is not here."""
    return provision.pull(name or MODEL)


def use_home(home: Path) -> None:
    """Keep caches, state and settings in `home` from now on, in this process and those it starts."""
    for name in [name for name in os.environ if name.startswith("STEERWAY_") and name != "STEERWAY_DEBUG"]:
        del os.environ[name]
    os.environ["STEERWAY_HOME"] = str(home)


def open_local(model: Path, settings: Settings) -> tuple[LocalEngine, str]:
    """The engine over `model`, and why it reuses what it does.

    Where no study opened the gate it is opened here: costs do not depend on the quality a study measures.
    """
    found = open_engine(str(model), settings=settings)
    if not isinstance(found, LocalEngine):
        raise SystemExit("name a local model")
    found.warm()
    reason = str(found.status()["reuse"]["reason"])
    if settings.reuse == "prefix" or found.info.reuse == "documents":
        return found, reason
    found.close()
    gate = Gate(mode="documents", reason=f"opened for timing ({reason})")
    forced = LocalEngine(
        model, n_ctx=settings.context_tokens, threads=settings.threads, settings=settings, gate=gate
    )
    forced.warm()
    if forced.info.reuse != "documents":
        raise SystemExit(f"documents are not reused: {forced.status()['reuse']['reason']}")
    return forced, gate.reason


def learn(engine: LocalEngine, requests: Iterable[Request]) -> float:
    """Do all idle work for `requests`, as an editor's pauses would. Seconds."""
    started = time.perf_counter()
    for request in requests:
        while engine.prepare(request, cancel=Cancel()):
            pass
    return time.perf_counter() - started


def ask(engine: LocalEngine, request: Request) -> Timed:
    """One suggestion, streamed."""
    first: list[float] = []

    def on_text(text: str) -> None:
        first.append(time.perf_counter())

    started = time.perf_counter()
    suggestion = engine.suggest(request, on_text=on_text)
    # A suggestion whose first token ends it shows no text: then the engine's own clock is taken.
    seen = (first[0] - started) * 1000 if first else suggestion.first_token_ms
    return Timed(suggestion, seen)


def origins(suggestion: Suggestion) -> dict[str, int]:
    """How many documents came from where."""
    found: dict[str, int] = {}
    for use in suggestion.documents:
        found[use.origin] = found.get(use.origin, 0) + 1
    return found
