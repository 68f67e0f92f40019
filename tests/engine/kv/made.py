"""Rows, keys and stores for these tests. As a program it puts, gets and evicts until it is killed."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import numpy as np

from engine.kv.keys import identity_key, unit_key
from engine.kv.rows import RowKind, Rows, Shape
from engine.kv.store import Store

SHAPE = Shape(((64, 32), (96, 32)))
LARGE = Shape(((128, 128),) * 24)
IDENTITY = identity_key({"model": "made", "salt": b"0" * 32}, [1, 2, 3])
BASE = 7
# Enough for anything to be worth writing.
COSTLY_MS = 1e6


def rows_of(
    tokens: int, *, shape: Shape = SHAPE, kind: RowKind = "f16", base: int = BASE, seed: int = 0
) -> Rows:
    """Random rows, as a model's might be: centred on zero, a few large."""
    values = np.random.default_rng(seed).standard_normal(tokens * shape.values) * 3
    return Rows(values.astype("<f2").view(np.uint8), tokens, base, "f16", shape).to(kind)


def key_of(number: int) -> bytes:
    return unit_key(IDENTITY, None, [number])


def unit(number: int, *, tokens: int = 16, shape: Shape = SHAPE) -> tuple[bytes, Rows]:
    """The key and the rows that every process makes for `number`."""
    return key_of(number), rows_of(tokens, shape=shape, kind="q8_0", seed=number)


def store_at(folder: Path, *, budget_bytes: int = 100_000_000, kind: RowKind = "q8_0") -> Store:
    return Store(folder, budget_bytes=budget_bytes, floor_bytes=0, kind=kind)


def put(store: Store, number: int, *, tokens: int = 16, compute_ms: float = COSTLY_MS) -> bool:
    key, rows = unit(number, tokens=tokens)
    return store.put(key, rows, compute_ms=compute_ms)


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("??/*"))


def got(store: Store, number: int, *, tokens: int = 16, shape: Shape = SHAPE) -> Rows | None:
    """What the store has for `number`. Fails when it is anything but what was put."""
    key, rows = unit(number, tokens=tokens, shape=shape)
    found = store.get(key, tokens=tokens, base=BASE, shape=shape)
    assert found is None or found.data.tobytes() == rows.data.tobytes()
    return found


def work(folder: Path, *, seed: int, rounds: int, budget_bytes: int) -> None:
    """Put and get units of two sizes, more than fit; says "ready" once the first is written."""
    chance = random.Random(seed)
    store = store_at(folder, budget_bytes=budget_bytes)
    for count in range(rounds):
        number = chance.randrange(60)
        tokens = 16 if number % 2 else 200
        if chance.random() < 0.6:
            key, rows = unit(number, tokens=tokens)
            assert store.put(key, rows, compute_ms=COSTLY_MS + number)
        else:
            got(store, number, tokens=tokens)
        if not count:
            print("ready", flush=True)
    store.close()


if __name__ == "__main__":
    work(Path(sys.argv[1]), seed=int(sys.argv[2]), rounds=int(sys.argv[3]), budget_bytes=int(sys.argv[4]))
