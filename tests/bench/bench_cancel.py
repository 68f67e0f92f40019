"""How long a cancel takes to be answered, in the middle of a prompt and of a generation.

python tests/bench/bench_cancel.py [MODEL] [--rounds 15] [--threads 0] [--json]

MODEL is a catalogue name or a GGUF (default: the default model). A request runs on an EngineThread; after a
random wait it is cancelled from this thread. Prints the milliseconds from `Job.cancel` to the future's answer
(median, largest), and the median over the time of one prompt chunk and of one token: below 1 means that work
is cut short inside llama.cpp rather than waited for. No threshold.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from engine.open import open_engine
from engine.request import Request
from engine.runtime.kv import CHUNK_TOKENS
from engine.runtime.worker import EngineThread
from engine.settings import Settings

SOURCE = Path(__file__).read_text()


def answer_ms(thread: EngineThread, request: Request, *, generating: bool, wait_s: float) -> float | None:
    """Milliseconds from the cancel to the answer; None when the request had ended by itself."""
    begun = threading.Event()
    job = thread.submit(request, on_text=lambda text: begun.set())
    if generating:
        begun.wait()
    time.sleep(wait_s)
    started = time.perf_counter()
    job.cancel()
    stop = job.future.result().stop
    return (time.perf_counter() - started) * 1000 if stop == "cancelled" else None


def measure(model: str | None, *, rounds: int, threads: int) -> dict[str, object]:
    chance = random.Random(1)
    with EngineThread(lambda: open_engine(model, settings=Settings(threads=threads))) as thread:
        info = thread.warm().result()
        request = Request(SOURCE[:900] + "\nWORDS = [", "", max_tokens=32, stop_at="block")
        whole = thread.submit(request).future.result()
        token_ms = (whole.total_ms - whole.first_token_ms) / max(1, whole.tokens_generated - 1)
        chunk_ms = whole.first_token_ms / whole.tokens_computed * CHUNK_TOKENS
        found: dict[str, list[float]] = {"prompt": [], "generation": []}
        for turn in range(rounds):
            fresh = Request(f"# {turn}\n{request.prefix}", "", max_tokens=64, stop_at="block")
            for kind, one in (("prompt", fresh), ("generation", request)):
                wait_s = chance.uniform(0.2, 2) * (chunk_ms if kind == "prompt" else token_ms) / 1000
                took = answer_ms(thread, one, generating=kind == "generation", wait_s=wait_s)
                found[kind] += [] if took is None else [took]
    result: dict[str, object] = {
        "model": info.model,
        "threads": info.threads,
        "token_ms": round(token_ms, 1),
        "chunk_ms": round(chunk_ms, 1),
    }
    for kind, unit_ms in (("prompt", chunk_ms), ("generation", token_ms)):
        times = found[kind]
        result[kind] = {
            "cancels": len(times),
            "median_ms": round(statistics.median(times), 2),
            "largest_ms": round(max(times), 2),
            "median/unit": round(statistics.median(times) / unit_ms, 3),
        }
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = measure(options.model, rounds=options.rounds, threads=options.threads)
    print(
        json.dumps(result) if options.json else "\n".join(f"{key}: {value}" for key, value in result.items())
    )


if __name__ == "__main__":
    main()
