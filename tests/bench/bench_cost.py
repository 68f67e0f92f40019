"""What the cost model predicts of random pieces of work, against what they take, on this machine now.

python tests/bench/bench_cost.py [MODEL] [--works 60] [--seed 1] [--cpu] [--json]

MODEL is a catalogue name or a GGUF (default: the default model). The machine is calibrated as at a first
start; then ends of prompts (1 to 56 tokens over 0 to 1,500 cached ones), loads (32 to 1,024 tokens of rows
from memory, rotated) and generated tokens (1 to 8 over 0 to 1,500) are drawn, predicted, run and observed.
Prints for each kind by what factor predictions were off, median and (nine tenths): by the calibrated
constants alone, and with the corrections observed so far. No threshold: a busy machine is no wrong model.
With --cpu one thread computes, and its CPU time is predicted and measured instead of the wall clock's:
whether time is linear in what is done can be told on a busy machine, too.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from engine.kv.cost import CostModel, Work
from engine.models import provision
from engine.runtime import calibrate, extension
from engine.runtime.context import Context
from engine.runtime.kv import CHUNK_TOKENS
from engine.runtime.llama import Model
from engine.runtime.threads import default_threads

MOST_CACHED, MOST_LOADED = 1500, 1024
KINDS = ("prompt", "load", "generate")


class Machine:
    """A context in which rows lie in whatever number is wanted."""

    def __init__(self, model: Model, *, threads: int) -> None:
        self.context = Context(
            model, context_tokens=MOST_CACHED + MOST_LOADED, batch_tokens=CHUNK_TOKENS, threads=threads,
            features=(extension.KV_ROWS,),
        )  # fmt: skip
        if not self.context.rows_supported:
            raise SystemExit("the library cannot place rows: `pip install ./native` builds one that can")
        self._row_bytes = self.context.row_bytes("q8_0")
        self._rows = np.ones(self._row_bytes * MOST_CACHED, np.uint8)
        self._tokens = [(7919 * n + 11) % model.vocabulary_size for n in range(CHUNK_TOKENS)]

    def draw(self, kind: str, dice: random.Random) -> tuple[Work, Callable[[], None]]:
        """A piece of work, and how to do it; what it attends to is in the cache already."""
        context, cached = self.context, dice.randrange(0, MOST_CACHED)
        context.clear()
        if kind == "load":
            count = dice.randrange(32, MOST_LOADED)
            size = count * self._row_bytes
            return Work(load_bytes_ram=size, rotate_tokens=count), lambda: self._place(count, delta=7)
        if cached:
            self._place(cached, delta=0)
        if kind == "prompt":
            count = dice.randrange(1, CHUNK_TOKENS + 1)
            work = Work(compute_tokens=count, attend_tokens=cached)
            return work, lambda: context.decode(self._tokens[:count], cached)
        count = dice.randrange(1, 9)
        work = Work(outputs=count, attend_tokens=cached)
        return (
            work,
            lambda: [context.decode(self._tokens[n : n + 1], cached + n) for n in range(count)] and None,
        )

    def _place(self, count: int, *, delta: int) -> None:
        rows = self._rows[: count * self._row_bytes]
        self.context.write(rows, total=count, first=0, count=count, position=0, delta=delta, kind="q8_0")


def run(model: Model, *, works: int, seed: int, cpu: bool) -> dict[str, object]:
    """The table, as JSON."""
    clock = time.process_time if cpu else time.perf_counter
    threads, dice = 1 if cpu else default_threads(), random.Random(seed)
    machine = Machine(model, threads=threads)
    started = clock()
    costs = calibrate.measure(machine.context, vocabulary=model.vocabulary_size, clock=clock)
    calibration_s = clock() - started
    cost, constants = CostModel(costs), CostModel(costs)
    off: dict[str, list[tuple[float, float]]] = {kind: [] for kind in KINDS}
    for n in range(works):
        kind = KINDS[n % len(KINDS)]
        work, act = machine.draw(kind, dice)
        said = (constants.predict(work), cost.predict(work))
        started = clock()
        act()
        actual = 1000 * (clock() - started)
        cost.observe(work, actual)
        off[kind].append((_factor(said[0], actual), _factor(said[1], actual)))
    machine.context.close()
    return {
        "model": model.path.stem,
        "threads": threads,
        "calibration_s": round(calibration_s, 2),
        "costs": cost.status(),
        "off": {kind: _row(pairs) for kind, pairs in off.items()},
    }


def _factor(said: float, was: float) -> float:
    return math.exp(abs(math.log(said / was)))


def _row(pairs: list[tuple[float, float]]) -> dict[str, dict[str, float]]:
    columns = {"constants": [pair[0] for pair in pairs], "corrected": [pair[1] for pair in pairs]}
    return {
        name: {
            "median": round(statistics.median(values), 2),
            "nine_tenths": round(sorted(values)[int(0.9 * (len(values) - 1))], 2),
        }
        for name, values in columns.items()
    }


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", nargs="?", default="qwen2.5-coder-0.5b")
    parser.add_argument("--works", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cpu", action="store_true")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    found = run(Model(provision.locate(asked.model)), works=asked.works, seed=asked.seed, cpu=asked.cpu)
    if asked.json:
        print(json.dumps(found, indent=2))
        return
    print(f"{found['model']}, {found['threads']} threads, calibrated in {found['calibration_s']} s")
    print(f"{'off by a factor of':<20}{'constants':>22}{'corrected':>22}")
    off = found["off"]
    assert isinstance(off, dict)
    for kind, row in off.items():
        cells = [
            f"{row[name]['median']:.2f} ({row[name]['nine_tenths']:.2f})"
            for name in ("constants", "corrected")
        ]
        print(f"{kind:<20}{cells[0]:>22}{cells[1]:>22}")


if __name__ == "__main__":
    main()
