"""What the tier on disk keeps when there is no room for all of it."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from engine.kv import disk
from engine.kv.store import Store
from engine.settings import Settings
from tests.engine.kv.made import BASE, COSTLY_MS, SHAPE, files, got, key_of, put, store_at, unit


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "kv"


def used_bytes(folder: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in folder.glob("??/*"))


def test_the_budget_holds_over_ten_thousand_puts_and_gets(folder: Path) -> None:
    budget = 400_000
    store = store_at(folder, budget_bytes=budget)
    chance = random.Random(3)
    small, large = {n: unit(n) for n in range(100)}, {n: unit(n, tokens=200) for n in range(100, 150)}
    most = 0
    for step in range(10_000):
        number = chance.randrange(150)
        key, rows = (small | large)[number]
        if chance.random() < 0.1:
            assert store.put(key, rows, compute_ms=COSTLY_MS)
            if step % 20 == 0:
                most = max(most, used_bytes(folder))
        else:
            found = store.get(key, tokens=rows.tokens, base=BASE, shape=SHAPE)
            assert found is None or found.data.tobytes() == rows.data.tobytes()
    stats = store.stats()
    assert stats.hits + stats.misses > 8000
    assert stats.evictions > 100
    assert 0.8 * budget < most <= budget
    assert stats.bytes == used_bytes(folder) <= budget


def test_what_is_cheap_to_compute_goes_first_unless_it_is_used(folder: Path) -> None:
    store = store_at(folder, budget_bytes=4 * 4096)
    costs = {1: 50.0, 2: 10.0, 3: 20.0, 4: 40.0}
    for number, cost in costs.items():
        assert put(store, number, compute_ms=cost)
    for _ in range(6):
        got(store, 2)
    assert put(store, 5, compute_ms=30.0)
    assert [n for n in range(1, 6) if store.has(key_of(n))] == [1, 2, 4, 5]
    assert put(store, 6, compute_ms=30.0)
    assert [n for n in range(1, 7) if store.has(key_of(n))] == [1, 2, 5, 6]


def test_what_was_worth_much_long_ago_goes_in_the_end(folder: Path) -> None:
    store = store_at(folder, budget_bytes=3 * 4096)
    put(store, 0, compute_ms=500.0)
    for _ in range(100):
        got(store, 0)
    for number in range(1, 200):
        put(store, number, compute_ms=50.0)
        if not store.has(key_of(0)):
            break
    assert 20 < number < 199


def test_larger_than_the_budget(folder: Path) -> None:
    store = store_at(folder, budget_bytes=8192)
    assert put(store, 1)
    assert not put(store, 2, tokens=200)
    assert got(store, 1) is not None


def test_the_floor_stays_free(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = 100_000
    monkeypatch.setattr(disk, "free_bytes", lambda _: free - 4096 * len(files(folder)))
    store = Store(folder, budget_bytes=10**9, floor_bytes=60_000)
    for number in range(20):
        assert put(store, number)
    assert len(files(folder)) == 9
    free = 80_000
    assert put(store, 30)
    assert len(files(folder)) == 4
    free = 50_000
    assert not put(store, 31)
    assert not files(folder)


def test_the_settings_are_the_limits(isolated_home: Path) -> None:
    store = Store.of(Settings(kv_disk_mb=7, kv_disk_free_mb=3, kv_type="f16"))
    stats = store.stats()
    assert (stats.budget_bytes, stats.floor_bytes, stats.kind) == (7_000_000, 3_000_000, "f16")
    assert store.folder == isolated_home / "cache" / "kv"
