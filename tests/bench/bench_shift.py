"""Time of a ranged K-shift against llama.cpp's shift of the whole cache, alternating in one run.

python tests/bench/bench_shift.py [MODEL.gguf] [--cells 80] [--rounds 9] [--threads 2] [--json FILE]

Prints medians in milliseconds for several context sizes and key types: the shift alone, and the shift with
the decode of one token after it (the full shift also throws the reusable decode graph away).
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "native")]

import lowlevel  # noqa: E402

from engine.models import provision  # noqa: E402
from engine.runtime import extension  # noqa: E402

DEFAULT_MODEL = "qwen2.5-coder-0.5b"
CASES = [(2048, "f16"), (8192, "f16"), (2048, "q8_0"), (8192, "q8_0")]


def fill(context: lowlevel.Context, cells: int) -> None:
    """Decode tokens into positions 0..cells-1 of sequence 0; which tokens does not matter."""
    chunk = context.tokens(lowlevel.TEXT)
    for start in range(0, cells, len(chunk)):
        context.decode(chunk[: min(len(chunk), cells - start)], start)


def once(
    context: lowlevel.Context, used: int, moved: int, delta: int, *, ranged: bool
) -> tuple[float, float]:
    """Milliseconds of the shift, and of the shift with the decode of the next token."""
    extension.enable(context.handle, *([extension.RANGED_SHIFT] if ranged else []))
    start = time.perf_counter()
    assert extension.shift_range(context.handle, 0, used - moved, -1, delta) == moved
    shifted = time.perf_counter()
    context.decode([1], used + 1)
    done = time.perf_counter()
    context.remove(0, used + 1, -1)
    extension.shift_range(context.handle, 0, used - moved, -1, -delta)
    return (shifted - start) * 1000, (done - start) * 1000


def measure(model: Any, n_ctx: int, keys: str, options: argparse.Namespace) -> dict[str, Any]:
    kind = lowlevel.KEY_TYPES[keys]
    used = min(options.used, n_ctx - 64)
    times: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
    with lowlevel.Context(
        model, n_ctx=n_ctx, type_k=kind, type_v=kind, threads=options.threads, n_seq_max=1
    ) as context:
        fill(context, used)
        for _ in range(options.rounds + 1):
            for ranged in (True, False):
                times[ranged].append(once(context, used, options.cells, 1, ranged=ranged))
    row: dict[str, Any] = {"n_ctx": n_ctx, "keys": keys, "used": used, "moved": options.cells}
    for ranged, name in ((False, "full"), (True, "ranged")):
        shift, step = zip(*times[ranged][1:], strict=True)  # the first round warms up
        row[f"{name}_ms"] = round(statistics.median(shift), 2)
        row[f"{name}_with_decode_ms"] = round(statistics.median(step), 2)
    row["ratio"] = round(row["full_ms"] / row["ranged_ms"], 1)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", default=DEFAULT_MODEL, help="a catalogue name or a path")
    parser.add_argument("--cells", type=int, default=80)
    parser.add_argument("--used", type=int, default=1500, help="tokens in the cache")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with lowlevel.loaded(provision.locate(options.model)) as model:
        rows = [measure(model, n_ctx, keys, options) for n_ctx, keys in CASES]
    for row in rows:
        print("  ".join(f"{name} {value}" for name, value in row.items()))
    if options.json:
        options.json.write_text(json.dumps({"library": extension.version(), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
