"""What our CPU kernels change: one decode of n tokens over a cache of d, with them and with llama.cpp's own.

    python tests/bench/bench_kernels.py [--model NAME] [--rounds 5] [--json docs/results/kernels.json]

One process, the model loaded once for each, as weights are packed while a model is loaded; the same tokens
are decoded with both in turn. Prints milliseconds a decode and the ratio of a pair. Floor: the bytes of the
weights (a token) or, for many, two operations a weight and token plus four a cached value, query head and
token.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from engine.models import provision
from engine.runtime import extension, kernels
from engine.runtime.context import Context
from engine.runtime.llama import Model
from tests.bench import measure

DEFAULT_MODEL = "qwen2.5-coder-0.5b"
WAYS: tuple[kernels.Choice, ...] = ("stock", "auto")
DEPTHS = (0, 1024, 2560)
SIZES = (1, 4, 8, 16, 32, 64, 128)


def fill(context: Context, depth: int) -> None:
    """Make the cache hold `depth` tokens."""
    context.remove(0, -1)
    for start in range(0, depth, 128):
        context.decode(words(128, start), start, outputs="none")


def words(count: int, start: int) -> list[int]:
    """Token ids that any vocabulary has, never the same one twice in a row."""
    return [1000 + (start + i) * 7919 % 9000 for i in range(count)]


def timed(context: Context, count: int, depth: int) -> float:
    """Milliseconds of one decode of `count` tokens behind `depth`."""
    context.remove(depth, -1)
    begun = time.perf_counter()
    context.decode(words(count, depth), depth)
    return (time.perf_counter() - begun) * 1e3


def row(contexts: dict[kernels.Choice, Context], count: int, depth: int, rounds: int) -> measure.Json:
    """Both kinds of kernels in turn."""
    found: dict[kernels.Choice, list[float]] = {way: [] for way in WAYS}
    for number in range(rounds + 1):
        for way in WAYS if number % 2 else WAYS[::-1]:
            kernels.choose(way)
            took = timed(contexts[way], count, depth)
            if number:  # the first round warms up
                found[way].append(took)
    return {
        "cached": depth,
        "tokens": count,
        "stock_ms": measure.spread(found["stock"]),
        "ours_ms": measure.spread(found["auto"]),
        "ratio": measure.ratios(found["stock"], found["auto"]),
    }


def main() -> int:
    """Measure, print, write."""
    options = measure.parser(__doc__, rounds=5).parse_args()
    load = measure.machine()
    path = provision.locate(options.model or DEFAULT_MODEL)
    contexts = {}
    for way in WAYS:
        kernels.choose(way)
        contexts[way] = Context(Model(path), context_tokens=4096, batch_tokens=128, threads=options.threads)
    used = list(extension.kernels())
    measure.say("cached  tokens     stock ms      ours ms    ratio")
    rows = []
    for depth in DEPTHS:
        for way in WAYS:
            kernels.choose(way)
            fill(contexts[way], depth)
        for count in SIZES:
            rows.append(row(contexts, count, depth, options.rounds))
            medians = [rows[-1][key]["median"] for key in ("stock_ms", "ours_ms", "ratio")]  # type: ignore[index]
            measure.say("{:6}  {:6}  {:11.1f}  {:11.1f}  {:7.2f}".format(depth, count, *medians))
    found: measure.Json = {
        "model": path.stem,
        "kernels": used,
        "threads": options.threads,
        "rows": rows,
    }
    measure.publish(found, options, load=load)
    return 0


if __name__ == "__main__":
    sys.exit(main())
