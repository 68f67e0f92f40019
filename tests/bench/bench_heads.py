"""What giving heads costs and saves: decodes with some heads given, against the same with none.

    python tests/bench/bench_heads.py [MODEL] [--profile PROFILE.json] [--rounds 9] [--json FILE]

Arms take turns in one process over the same cells: none given; the feature switched off; the dormant heads
of a profile (`steerway study heads -o PROFILE.json`); every head of a quarter, and of all layers (what could
be saved at the very most). The first decode after a change builds the graph anew and is not timed. Floor:
products of queries and keys and of weights and values, four operations a cached value, query head and token.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from engine.models import provision
from engine.runtime import extension, kernels
from engine.runtime.context import Context
from engine.runtime.given import GivenHead
from engine.runtime.llama import Model
from tests.bench import measure
from tests.bench.bench_kernels import DEFAULT_MODEL, fill, words

DEPTHS = (256, 2048)
SIZES = (1, 32)
FEATURES = (extension.LOOSE_POSITIONS, extension.MASK_BIAS, extension.KV_ROWS)


def options() -> argparse.Namespace:
    parser = measure.parser(__doc__, rounds=9)
    parser.add_argument("--profile", type=Path, help="whose dormant heads are given")
    return parser.parse_args()


def arms(model: Model, profile: Path | None) -> dict[str, list[GivenHead]]:
    """Heads by the name of an arm."""
    layers = int(model.metadata[f"{model.metadata['general.architecture']}.block_count"])
    heads = int(model.metadata[f"{model.metadata['general.architecture']}.attention.head_count"])
    found = {
        "every head, a quarter of layers": [
            GivenHead(i, j) for i in range(0, layers, 4) for j in range(heads)
        ],
        "every head": [GivenHead(i, j) for i in range(layers) for j in range(heads)],
    }
    if profile is not None:
        chosen = [head for head in json.loads(profile.read_text())["heads"] if head["kind"] == "dormant"]
        found = {f"{len(chosen)} dormant": [GivenHead(h["layer"], h["head"]) for h in chosen]} | found
    return found


def timed(context: Context, count: int, depth: int) -> float:
    """Milliseconds of one decode, the second of two."""
    took = 0.0
    for _ in range(2):
        context.remove(depth, -1)
        begun = time.perf_counter()
        context.decode(words(count, depth), depth)
        took = (time.perf_counter() - begun) * 1e3
    return took


def main() -> int:
    """Measure, print, write."""
    chosen = options()
    load = measure.machine()
    kernels.choose()
    model = Model(provision.locate(chosen.model or DEFAULT_MODEL))
    context = Context(
        model, context_tokens=4096, batch_tokens=128, threads=chosen.threads,
        features=(*FEATURES, extension.HEADS),
    )  # fmt: skip
    ways: dict[str, Callable[[], None]] = {
        "none": lambda: context.set_heads([]),
        "switched off": lambda: extension.enable(context.handle, *FEATURES),
    }
    for name, heads in arms(model, chosen.profile).items():
        ways[name] = lambda heads=heads: context.set_heads(heads)  # type: ignore[misc]
    rows = []
    measure.say(f"cached  tokens  {'given':32} {'ms':>9}  ratio to none (quartiles)")
    for depth in DEPTHS:
        context.set_heads([])
        fill(context, depth)
        for count in SIZES:
            rows += rounds(context, ways, count, depth, chosen.rounds)
    measure.publish({"model": model.path.stem, "threads": chosen.threads, "rows": rows}, chosen, load=load)
    return 0


def rounds(
    context: Context, ways: dict[str, Callable[[], None]], count: int, depth: int, most: int
) -> list[measure.Json]:
    """One row an arm."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(most):
        for name in list(ways)[:: 1 if number % 2 else -1]:
            extension.enable(context.handle, *FEATURES, extension.HEADS)
            ways[name]()
            found[name].append(timed(context, count, depth))
    rows: list[measure.Json] = []
    for name, took in found.items():
        ratio = measure.ratios(took, found["none"])
        rows.append(
            {"cached": depth, "tokens": count, "given": name, "ms": measure.spread(took), "ratio": ratio}
        )
        measure.say(f"{depth:6}  {count:6}  {name:32} {measure.spread(took)['median']:9.1f}  {ratio}")
    return rows


if __name__ == "__main__":
    sys.exit(main())
