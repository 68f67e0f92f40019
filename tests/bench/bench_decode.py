"""A warm suggestion through the engine's thread against llama.cpp's own decode speed, alternating in one run.

python tests/bench/bench_decode.py [MODEL] [--tokens 48] [--rounds 7] [--threads 0] [--json]

MODEL is a catalogue name or a GGUF (default: the default model). Three ways over the same tokens and threads:
  bare      `llama_decode` alone on one token after the other, known beforehand: nothing is chosen
  greedy    `llama_decode` and llama.cpp's own greedy sampler, as its simplest example does
  engine    `EngineThread.submit`: healing, sampling, UTF-8, stopping, streaming to a callback
Prints milliseconds a token, and engine/bare and engine/greedy (target: 1.15), median and spread over rounds,
by the wall clock and by this process's CPU time, which a busy machine disturbs less. No threshold.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from engine.open import open_engine
from engine.request import Request
from engine.runtime.context import Context
from engine.runtime.local import LocalEngine
from engine.runtime.worker import EngineThread
from engine.settings import Settings

PREFIX = "# The first two hundred numbers, each beside its square.\nSQUARES = {\n" + "".join(
    f"    {n}: {n * n},\n" for n in range(1, 13)
)
Cost = tuple[float, float]
WAYS = ("bare", "greedy", "engine")


class Bare:
    """llama.cpp's loop with nothing around it, on a context of its own over the engine's model."""

    def __init__(self, engine: LocalEngine, prompt: list[int], *, threads: int) -> None:
        self._context = Context(
            engine._model, context_tokens=engine.info.context_tokens, batch_tokens=64, threads=threads
        )
        self._c = self._context._c
        self._sampler = self._c.llama_sampler_init_greedy()
        for start in range(0, len(prompt), 64):
            self._context.decode(prompt[start : start + 64], start)
        self._start = len(prompt)
        self._last = self._c.llama_sampler_sample(self._sampler, self._context.handle, -1)

    def tokens(self, count: int) -> list[int]:
        """The greedy continuation."""
        found: list[int] = []
        self.run(count, found=found)
        return found

    def run(self, count: int, *, known: list[int] | None = None, found: list[int] | None = None) -> Cost:
        """Cost of decoding `count` tokens one by one: the known ones, or those the greedy sampler chooses."""
        self._context.remove(self._start)
        decode, sample, fill = self._c.llama_decode, self._c.llama_sampler_sample, self._context._batch.fill
        handle, sampler, token = self._context.handle, self._sampler, self._last
        started = _now()
        for step in range(count):
            if found is not None:
                found.append(token)
            here = np.array([self._start + step])
            if decode(handle, fill((token if known is None else known[step],), here, 0, "last")):
                raise SystemExit("llama_decode failed")
            if known is None:
                token = sample(sampler, handle, -1)
        return _since(started)

    def close(self) -> None:
        self._c.llama_sampler_free(self._sampler)
        self._context.close()


def engine_cost(thread: EngineThread, request: Request) -> tuple[Cost, int]:
    """Cost between the first and the last token, and how many tokens that is."""
    marks: list[Cost] = []
    suggestion = thread.submit(request, on_text=lambda text: marks.append(_now())).future.result()
    wall, cpu = (marks[-1][i] - marks[0][i] for i in (0, 1))
    if suggestion.stop != "length":
        raise SystemExit(f"the suggestion ended by {suggestion.stop}: choose fewer --tokens")
    return (wall, cpu), suggestion.tokens_generated - 1


def measure(model: str | None, *, tokens: int, rounds: int, threads: int) -> dict[str, object]:
    engine = open_engine(model, settings=Settings(drafts="off", threads=threads))
    if not isinstance(engine, LocalEngine):
        raise SystemExit("name a local model")
    request = Request(PREFIX, "", path="squares.py", max_tokens=tokens, stop_at="block")
    prompt = list(engine._assemble(request).tokens)
    bare = Bare(engine, prompt, threads=engine.info.threads)
    costs: dict[str, list[Cost]] = {way: [] for way in WAYS}
    with EngineThread(lambda: engine) as thread:
        _, count = engine_cost(thread, request)
        known = bare.tokens(count)
        ways: dict[str, Callable[[], Cost]] = {
            "bare": lambda: bare.run(count, known=known),
            "greedy": lambda: bare.run(count),
            "engine": lambda: engine_cost(thread, request)[0],
        }
        for turn in range(rounds):
            for way in WAYS if turn % 2 else reversed(WAYS):
                costs[way].append(ways[way]())
        bare.close()
    return {
        "model": engine.info.model,
        "threads": engine.info.threads,
        "tokens": count,
        **_table(costs, count),
    }


def _table(costs: dict[str, list[Cost]], count: int) -> dict[str, object]:
    table: dict[str, object] = {}
    for index, clock in enumerate(("wall", "cpu")):
        times = {way: [cost[index] / count for cost in costs[way]] for way in WAYS}
        table[clock] = {
            "ms_per_token": {way: round(statistics.median(times[way]), 3) for way in WAYS},
            **{f"engine/{way}": _spread(times["engine"], times[way]) for way in WAYS[:2]},
        }
    return table


def _spread(ours: list[float], theirs: list[float]) -> dict[str, float]:
    ratios = sorted(a / b for a, b in zip(ours, theirs, strict=True))
    return {
        "median": round(statistics.median(ratios), 3),
        "low": round(ratios[0], 3),
        "high": round(ratios[-1], 3),
    }


def _now() -> Cost:
    return time.perf_counter() * 1000, time.process_time() * 1000


def _since(started: Cost) -> Cost:
    wall, cpu = _now()
    return wall - started[0], cpu - started[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?")
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = measure(options.model, tokens=options.tokens, rounds=options.rounds, threads=options.threads)
    if options.json:
        print(json.dumps(result))
        return
    print(
        f"{result['model']}, {result['threads']} threads, {result['tokens']} tokens, {options.rounds} rounds"
    )
    for clock in ("wall", "cpu"):
        row = result[clock]
        assert isinstance(row, dict)
        print(f"{clock:>5}", *(f"{key} {value}" for key, value in row.items()), sep="\n      ")


if __name__ == "__main__":
    main()
