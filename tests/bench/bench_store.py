"""What the store adds to reading and writing a file: get and put against plain files of the same bytes.

python tests/bench/bench_store.py [--tokens 512] [--rounds 200] [--folder DIR] [--json FILE]

All files are in the page cache, and everything alternates in one run over the same number of files. Times
are medians of this thread's processor time, which is all it takes while no disk is waited for, and which
other work on the machine lengthens least; the clock's 10th percentiles are printed, too. `get` opens, reads,
checks and returns a unit's rows; a plain read opens and reads the same bytes into new memory; `read,
checksum` also computes their XXH3-128. `put` has its budget full: it evicts, too; a plain write deletes an
older file, too.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import xxhash  # noqa: E402

from engine.kv.keys import identity_key, unit_key  # noqa: E402
from engine.kv.memory import Memory  # noqa: E402
from engine.kv.rows import Rows, Shape  # noqa: E402
from engine.kv.store import Store  # noqa: E402

# Qwen2.5-Coder-0.5B: 24 layers, keys and values of 128.
SHAPE = Shape(((128, 128),) * 24)
BASE = 64
KEPT = 16


def plain_read(path: Path) -> np.ndarray[Any, Any]:
    """Open, read into new memory, close."""
    handle = os.open(path, os.O_RDONLY)
    try:
        data = np.empty(os.fstat(handle).st_size, dtype=np.uint8)
        os.readv(handle, [memoryview(data)])
    finally:
        os.close(handle)
    return data


def plain_write(path: Path, data: np.ndarray[Any, Any]) -> None:
    """Write a new file in the simplest way."""
    with path.open("wb", buffering=0) as file:
        file.write(data)


def measure(folder: Path, tokens: int, rounds: int) -> dict[str, Any]:
    values = np.random.default_rng(1).standard_normal(tokens * SHAPE.values).astype("<f2")
    rows = Rows(values.view(np.uint8), tokens, BASE, "f16", SHAPE).to("q8_0")
    jobs = prepared(folder, rows)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in jobs}
    order, chance = list(jobs), random.Random(tokens)
    for number in range(KEPT, KEPT + rounds):
        chance.shuffle(order)  # each finds memory and caches as another left them
        for name in order:
            start, busy = time.perf_counter(), time.thread_time()
            jobs[name](number)
            times[name].append(((time.thread_time() - busy) * 1000, (time.perf_counter() - start) * 1000))
    return report(rows, times)


def prepared(folder: Path, rows: Rows) -> dict[str, Callable[[int], object]]:
    """What is measured, each given the number of the round; KEPT files of each kind are there."""
    full = Store(folder / "full", budget_bytes=KEPT * (rows.nbytes + 8192), floor_bytes=0)
    store = Store(folder / "kv", budget_bytes=100 * rows.nbytes, floor_bytes=0)
    memory = Memory(4 * rows.nbytes)
    identity = identity_key({"salt": store.salt()}, [])
    memory.put(b"here", rows, compute_ms=1000.0)

    def key(number: int) -> bytes:
        return unit_key(identity, None, [number])

    def put(number: int) -> None:
        assert full.put(key(number), rows, compute_ms=1000.0)

    def get(number: int) -> None:
        assert store.get(key(number % KEPT), tokens=rows.tokens, base=BASE, shape=SHAPE)

    def write(number: int) -> None:
        (folder / f"written-{number - KEPT}").unlink(missing_ok=True)
        plain_write(folder / f"written-{number}", rows.data)

    def read(number: int) -> np.ndarray[Any, Any]:
        return plain_read(folder / f"plain-{number % KEPT}")

    for number in range(KEPT):
        put(number)
        write(number)
        assert store.put(key(number), rows, compute_ms=1000.0)
        plain_write(folder / f"plain-{number}", rows.data)
    return {
        "put": put,
        "plain write": write,
        "get": get,
        "plain read": read,
        "read, checksum": lambda number: xxhash.xxh3_128_digest(read(number + KEPT // 2)),
        "memory": lambda _: memory.get(b"here"),
    }


def report(rows: Rows, times: dict[str, list[tuple[float, float]]]) -> dict[str, Any]:
    busy = {name: statistics.median(pair[0] for pair in found) for name, found in times.items()}
    clock = {
        name: statistics.quantiles([pair[1] for pair in found], n=10)[0] for name, found in times.items()
    }
    names = {name: name.replace(", ", "_").replace(" ", "_") for name in times}
    return {
        "tokens": rows.tokens,
        "bytes": rows.nbytes,
        "rounds": len(times["get"]),
        **{f"{names[name]}_ms": round(ms, 4) for name, ms in busy.items()},
        **{f"{names[name]}_clock_p10_ms": round(ms, 4) for name, ms in clock.items()},
        "get_to_plain_read": round(busy["get"] / busy["plain read"], 2),
        "get_to_read_checksum": round(busy["get"] / busy["read, checksum"], 2),
        "put_to_plain_write": round(busy["put"] / busy["plain write"], 2),
        "get_gb_per_s": round(rows.nbytes / busy["get"] / 1e6, 2),
        "put_gb_per_s": round(rows.nbytes / busy["put"] / 1e6, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, nargs="+", default=[64, 256, 512])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--folder", type=Path, help="on the file system to measure")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    results = []
    for tokens in options.tokens:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            results.append(measure(Path(folder), tokens, options.rounds))
        print(json.dumps(results[-1], indent=1))
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
