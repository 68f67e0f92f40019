"""What our CPU kernels change: one decode of n tokens over a cache of d, with them and with llama.cpp's own.

    python tests/bench/bench_kernels.py [--model NAME] [--rounds 5] [--json docs/results/kernels.json]

One process, one context; the switch is thrown between two decodes of the same tokens, so that both take
turns. Prints milliseconds a decode and the ratio of a pair. Floor: the bytes of the weights (a token) or, for
many, two operations a weight and token plus four a cached value, query head and token.
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


def row(context: Context, count: int, depth: int, rounds: int) -> measure.Json:
    """Both kinds of kernels in turn."""
    found: dict[str, list[float]] = {"stock": [], "ours": []}
    for number in range(rounds + 1):
        for name in ("stock", "ours") if number % 2 else ("ours", "stock"):
            kernels.choose("stock" if name == "stock" else "auto")
            took = timed(context, count, depth)
            if number:  # the first round warms up
                found[name].append(took)
    return {
        "cached": depth,
        "tokens": count,
        "stock_ms": measure.spread(found["stock"]),
        "ours_ms": measure.spread(found["ours"]),
        "ratio": measure.ratios(found["stock"], found["ours"]),
    }


def main() -> int:
    """Measure, print, write."""
    options = measure.parser(__doc__, rounds=5).parse_args()
    load = measure.machine()
    model = Model(provision.locate(options.model or DEFAULT_MODEL))
    context = Context(model, context_tokens=4096, batch_tokens=128, threads=options.threads)
    measure.say("cached  tokens     stock ms      ours ms    ratio")
    rows = []
    for depth in DEPTHS:
        kernels.choose()
        fill(context, depth)
        for count in SIZES:
            rows.append(row(context, count, depth, options.rounds))
            medians = [rows[-1][key]["median"] for key in ("stock_ms", "ours_ms", "ratio")]  # type: ignore[index]
            measure.say("{:6}  {:6}  {:11.1f}  {:11.1f}  {:7.2f}".format(depth, count, *medians))
    found: measure.Json = {
        "model": model.path.stem,
        "kernels": list(extension.kernels()),
        "threads": options.threads,
        "rows": rows,
    }
    measure.publish(found, options, load=load)
    return 0


if __name__ == "__main__":
    sys.exit(main())
