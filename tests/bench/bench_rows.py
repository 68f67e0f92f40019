"""What placing a document's rows costs, against copying as many bytes: stay, rotate, q8_0, and reading.

python tests/bench/bench_rows.py [MODEL] [--rounds 15] [--json FILE]

One process, one thread, all cases in turn within each round; the floor is numpy's copy of the f16 bytes that
are written, between two buffers as large. Prints processor milliseconds (others on the machine count less in
them than in wall-clock time) and the wall-clock medians; `gap` is the case's time over the floor's.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from engine.models import provision
from engine.runtime import extension
from engine.runtime.context import Context
from engine.runtime.llama import Model

DEFAULT_MODEL = "qwen2.5-coder-0.5b"
SIZES = (64, 256, 1024, 2048, 8192)
DELTA = 777

Clock = tuple[float, float]


def timed(action: Callable[[], object]) -> Clock:
    """Milliseconds of wall clock and of the processor."""
    wall, processor = time.perf_counter(), time.process_time()
    action()
    return (time.perf_counter() - wall) * 1e3, (time.process_time() - processor) * 1e3


def cases(context: Context, tokens: int) -> dict[str, Callable[[], object]]:
    """What is timed, by name. Values are random and of the size of real keys."""
    random = np.random.default_rng(tokens)
    count = tokens * context.row_bytes() // 2
    rows = (random.standard_normal(count, np.float32) * 2).astype(np.float16).view(np.uint8)
    target = np.empty_like(rows)
    context.write(rows, total=tokens, first=0, count=tokens, position=0, delta=0)
    packed = context.read(0, tokens, kind="q8_0")

    def placed(block: np.ndarray, **more: Any) -> Callable[[], None]:
        return lambda: context.write(block, total=tokens, first=0, count=tokens, position=0, **more)

    return {
        "floor": lambda: np.copyto(target, rows),
        "stay": placed(rows, delta=0),
        "rotate": placed(rows, delta=DELTA),
        "q8_0": placed(packed, delta=0, kind="q8_0"),
        "q8_0 rotate": placed(packed, delta=DELTA, kind="q8_0"),
    }


def measure(context: Context, tokens: int, rounds: int) -> list[dict[str, Any]]:
    context.clear()
    actions = cases(context, tokens)
    times: dict[str, list[Clock]] = {name: [] for name in [*actions, "read"]}
    for _ in range(rounds + 1):
        for name, action in actions.items():
            context.clear()
            times[name].append(timed(action))
        times["read"].append(timed(lambda: context.read(0, tokens)))
    medians = {
        name: tuple(statistics.median(column) for column in zip(*found[1:], strict=True))
        for name, found in times.items()  # the first round warms up
    }
    floor = medians["floor"][1]
    size = tokens * context.row_bytes() / 1e6
    return [
        {
            "tokens": tokens, "case": name, "mb": round(size, 1), "wall_ms": round(wall, 2),
            "processor_ms": round(processor, 2), "gap": round(processor / floor, 2),
            "tokens_per_s": round(tokens / processor * 1e3),
        }
        for name, (wall, processor) in medians.items()
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", nargs="?", default=DEFAULT_MODEL, help="a catalogue name or a path")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    model = Model(provision.locate(options.model))
    context = Context(
        model, context_tokens=max(SIZES), batch_tokens=64, threads=1, features=(extension.KV_ROWS,)
    )
    rows = [row for tokens in SIZES for row in measure(context, tokens, options.rounds)]
    for row in rows:
        print("  ".join(f"{name} {value}" for name, value in row.items()))
    if options.json:
        result = {"model": options.model, "library": extension.version(), "rows": rows}
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
