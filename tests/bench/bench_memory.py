"""Ten thousand replayed requests: memory and disk stay within their budgets, and the process does not grow.

    python tests/bench/bench_memory.py [--requests 10000] [--engine-requests 1500]
        [--json docs/results/switch-memory.json]

`--engine-requests` go through the engine with the small model: two of 200 small documents by popularity
(Zipf), one token, while the cursor's line grows; the others go to the tiers alone (memory, then disk, then
a `put` of noise in the small model's shape) with such draws over 1,000 documents. Both have 16 MB of memory
and 64 MB of disk, far less than what they are asked for, so that both evict all the time. Resident memory
and the folder's size are sampled; the slope of resident memory is a least-squares line over the second
half, when everything is allocated.
"""

from __future__ import annotations

import gc
import hashlib
import random
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path

import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from engine.documents import Document
from engine.kv.budgets import MEGABYTE
from engine.kv.memory import Memory
from engine.kv.rows import Rows, Shape
from engine.kv.store import Store
from engine.request import Request
from engine.settings import Settings, folders
from tests.bench import measure, ours

CONTEXT_TOKENS = 512
MEMORY_MB, DISK_MB = 16, 64
ENGINE_DOCUMENTS, TIER_DOCUMENTS = 200, 1_000
SAMPLES = 60


@dataclass
class Curve:
    """Samples over the requests: resident memory and the store's folder, in MB."""

    every: int
    requests: list[float] = field(default_factory=list)
    rss_mb: list[float] = field(default_factory=list)
    disk_mb: list[float] = field(default_factory=list)

    def sample(self, request: int) -> None:
        """Take one, when it is time."""
        if request % self.every:
            return
        gc.collect()
        self.requests.append(request)
        self.rss_mb.append(psutil.Process().memory_info().rss / 1e6)
        self.disk_mb.append(_folder_mb(folders().cache / "kv"))

    def report(self) -> measure.Json:
        """Where it went."""
        half = len(self.requests) // 2
        later = self.rss_mb[half:]
        return {
            "requests": int(self.requests[-1]) + self.every,
            "rss_mb": [round(value, 1) for value in self.rss_mb],
            "rss_mb_second_half": measure.spread(later),
            "rss_slope_mb_per_1000": round(1000 * measure.slope(self.requests[half:], later), 3),
            "disk_mb_most": round(max(self.disk_mb), 1),
            "disk_budget_mb": DISK_MB,
            "disk_within_budget": max(self.disk_mb) <= DISK_MB,
        }


def _folder_mb(folder: Path) -> float:
    """What the units take up, as the file system counts."""
    sizes = []
    for path in folder.glob("??/*.kv"):
        try:
            sizes.append(path.stat().st_blocks * 512)
        except FileNotFoundError:
            continue
    return sum(sizes) / 1e6


def zipf(draw: random.Random, number: int) -> Callable[[int], list[int]]:
    """Draws of that many of `number` items, the first most often; one draw may hold an item twice."""
    weights = list(accumulate(1 / (rank + 1) for rank in range(number)))
    return lambda count: draw.choices(range(number), cum_weights=weights, k=count)


def small_document(number: int) -> Document:
    """About 30 tokens of code."""
    text = f"def price_{number}(count):\n    return count * {number} + {number % 7}\n"
    return Document(f"lib/price_{number}.py", text, "source", language="python")


def request(turn: int, numbers: list[int]) -> Request:
    """One keystroke of a line that grows, beside two documents."""
    line = "    found = price_total(values, rounded=True)"[: 12 + turn % 30]
    return Request(
        f"import lib\n\n\ndef total(values):\n{line}",
        "",
        path="total.py",
        documents=tuple(map(small_document, dict.fromkeys(numbers))),
        max_tokens=1,
        layout="repo/prefix",
    )


def replay_engine(model: Path, settings: Settings, number: int) -> tuple[measure.Json, str]:
    """The requests through the engine; the curve, and why it reuses what it does."""
    engine, gate = ours.open_local(model, settings)
    draw, curve = zipf(random.Random(5), ENGINE_DOCUMENTS), Curve(max(1, number // SAMPLES))
    computed: list[float] = []
    for turn in range(number):
        found = engine.suggest(request(turn, draw(2)))
        computed.append(found.tokens_computed)
        curve.sample(turn)
    status = engine.status()
    engine.close()
    return curve.report() | {"tokens_computed": measure.spread(computed, 0), "status": _numbers(status)}, gate


def _numbers(status: object) -> object:
    """Of a status, what is a number."""
    if isinstance(status, dict):
        found = {str(key): _numbers(value) for key, value in status.items()}
        return {key: value for key, value in found.items() if value not in ({}, None)}
    return status if isinstance(status, int | float) and not isinstance(status, bool) else None


def some_rows(tokens: int = 16) -> Rows:
    """Noise in the small model's shape: 30 layers of 192 values for K and V."""
    shape = Shape(((192, 192),) * 30)
    values = np.random.default_rng(1).normal(size=tokens * shape.values).astype("<f2")
    return Rows(values.view(np.uint8), tokens, 0, "f16", shape)


def replay_tiers(rows: Rows, number: int) -> measure.Json:
    """The same over memory and store alone: what is in neither is put into both."""
    memory = Memory(MEMORY_MB * MEGABYTE)
    store = Store(folders().cache / "kv", budget_bytes=DISK_MB * MEGABYTE, floor_bytes=0)
    draw, curve = zipf(random.Random(6), TIER_DOCUMENTS), Curve(max(1, number // SAMPLES))
    most_memory = 0
    for turn in range(number):
        for index in draw(2):
            key = hashlib.sha256(index.to_bytes(4, "little")).digest()
            if memory.get(key) is None:
                found = store.get(key, tokens=rows.tokens, base=rows.base, shape=rows.shape)
                if found is None:
                    found = Rows(rows.data.copy(), rows.tokens, rows.base, rows.kind, rows.shape)
                    store.put(key, found, compute_ms=100.0)
                memory.put(key, found, compute_ms=100.0)
        most_memory = max(most_memory, memory.stats().bytes)
        curve.sample(turn)
    stats = store.stats()
    store.close()
    return curve.report() | {
        "memory_mb_most": round(most_memory / 1e6, 1),
        "memory_budget_mb": MEMORY_MB,
        "memory_within_budget": most_memory <= MEMORY_MB * MEGABYTE,
        "disk_hits": stats.hits,
        "disk_misses": stats.misses,
        "disk_writes": stats.writes,
        "disk_evictions": stats.evictions,
    }


def main() -> None:
    parser = measure.parser(__doc__)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--engine-requests", type=int, default=1_500)
    options = parser.parse_args()
    model, load = ours.model_file(options.model or ours.SMALL_MODEL), measure.machine()
    settings = Settings(
        context_tokens=CONTEXT_TOKENS,
        threads=options.threads,
        reuse="documents",
        kv_memory_mb=MEMORY_MB,
        kv_disk_mb=DISK_MB,
        kv_disk_free_mb=0,
    )
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as home:
        ours.use_home(Path(home) / "engine")
        through_engine, gate = replay_engine(model, settings, options.engine_requests)
        measure.say(f"engine: {time.monotonic() - started:.0f} s")
        ours.use_home(Path(home) / "tiers")
        tiers = replay_tiers(some_rows(), options.requests - options.engine_requests)
    result: measure.Json = {"model": model.stem, "gate": gate, "engine": through_engine, "tiers": tiers}
    measure.publish(result | {"seconds": round(time.monotonic() - started)}, options, load=load)


if __name__ == "__main__":
    main()
