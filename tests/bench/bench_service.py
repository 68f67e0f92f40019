"""What sharing one engine process costs a request: shared against inline, interleaved in one run.

python tests/bench/bench_service.py [--model fake] [--rounds 40] [--threads N] [--json FILE]

The same requests go to an EngineThread of this process and through the socket to a service that was started
for the measurement (in a home of its own), in turns: one token; many tokens, streamed to a callback; one
token under 100 kB of documents. All are warm: nothing of the prompt is computed twice. Milliseconds are from
`submit` to the future's answer. `overhead_ms` is shared minus inline, pair by pair; `token_overhead_ms` the
same for each token of the long answers, what one request costs taken off; `ratio` is shared over inline.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from engine import services
from engine.documents import Document
from engine.models import provision
from engine.open import open_engine
from engine.request import Request
from engine.runtime.address import Spec
from engine.runtime.client import EngineClient
from engine.runtime.job import Serving
from engine.runtime.worker import EngineThread
from engine.settings import Settings
from tests.bench import measure

NUMBERS = Document("numbers.py", "NUMBERS = [" + ", ".join(map(str, range(24))) + "]\n")
MANY = Request("NUMBERS = [0, 1, 2, 3,", "]\n", documents=(NUMBERS,), max_tokens=24, stop_at="block")
ONE = replace(MANY, max_tokens=1)
LARGE = replace(
    ONE,
    documents=tuple(Document(f"a{index}.py", "value = 1\n" * 1000) for index in range(10)),
    document_tokens=64,
)
REQUESTS = {"one token": ONE, "many tokens, streamed": MANY, "100 kB of documents": LARGE}


def timed(engine: Serving, request: Request, *, stream: bool) -> tuple[float, int]:
    """Milliseconds to the answer, and how many tokens it has."""
    started = time.perf_counter()
    job = engine.submit(request, on_text=(lambda text: None) if stream else None)
    answer = job.future.result()
    return (time.perf_counter() - started) * 1000, answer.tokens_generated


def compare(inline: Serving, shared: Serving, *, rounds: int) -> dict[str, measure.Json]:
    found: dict[str, measure.Json] = {}
    each_request: list[float] = []
    for name, request in REQUESTS.items():
        stream = name == "many tokens, streamed"
        pairs: list[tuple[float, float]] = []
        tokens = 0
        for turn in range(rounds + 3):
            # Who comes first alternates, so that neither always finds the caches as the other left them.
            order = (inline, shared) if turn % 2 else (shared, inline)
            times = {id(engine): timed(engine, request, stream=stream) for engine in order}
            if turn >= 3:
                pairs.append((times[id(inline)][0], times[id(shared)][0]))
            tokens = times[id(shared)][1]
        over = [theirs - ours for ours, theirs in pairs]
        each_request = each_request or over
        found[name] = {
            "inline_ms": measure.spread((ours for ours, _ in pairs), 2),
            "shared_ms": measure.spread((theirs for _, theirs in pairs), 2),
            "overhead_ms": measure.spread(over, 2),
            "ratio": measure.ratios([theirs for _, theirs in pairs], [ours for ours, _ in pairs]),
            "tokens": tokens,
        }
        if stream:
            base = sorted(each_request)[len(each_request) // 2]
            found[name]["token_overhead_ms"] = measure.spread(
                [(ms - base) / max(1, tokens) for ms in over], 3
            )
    return found


@contextmanager
def own_home() -> Iterator[None]:
    """Folders of this run alone; the model's file is found where it is."""
    with tempfile.TemporaryDirectory(prefix="steerway-bench-") as folder:
        os.environ["STEERWAY_HOME"] = folder
        try:
            yield
        finally:
            for each in services.find():
                services.end(each)


def main() -> None:
    options = measure.parser(__doc__, rounds=40).parse_args()
    load = measure.machine()
    model = options.model or "fake"
    file = model if model.startswith("fake") else str(provision.pull(model))
    settings = Settings(threads=options.threads)
    with own_home():
        spec = Spec(file, settings)
        inline = EngineThread(lambda: open_engine(file, settings=settings))
        with inline, EngineClient(lambda: spec, name="bench") as shared:
            started = time.perf_counter()
            shared.info()
            start_ms = (time.perf_counter() - started) * 1000
            for engine in (inline, shared):
                engine.warm().result()
            result: measure.Json = {
                "model": inline.info().model,
                "rounds": options.rounds,
                "start_and_load_ms": round(start_ms, 1),
                **compare(inline, shared, rounds=options.rounds),
            }
    measure.publish(result, options, load=load)


if __name__ == "__main__":
    main()
