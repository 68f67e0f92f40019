"""Verify, prune, clear: a store put in order, and what dead writers left swept."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.engine.kv.made import files, got, key_of, put, store_at


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "kv"


def test_drafts_of_dead_writers_are_swept_and_live_ones_are_not(folder: Path) -> None:
    import fcntl

    store = store_at(folder)
    put(store, 1)
    fan = files(folder)[0].parent
    dead, young, live = (fan / f"draft-{name}" for name in ("dead", "young", "live"))
    for path in (dead, young, live):
        path.write_bytes(b"half")
    long_ago = time.time() - 3600
    os.utime(dead, (long_ago, long_ago))
    os.utime(live, (long_ago, long_ago))
    with live.open("rb") as writer:
        fcntl.flock(writer, fcntl.LOCK_EX)
        assert store.prune().drafts == 1
    assert [path.exists() for path in (dead, young, live)] == [False, True, True]
    os.utime(young, (long_ago, long_ago))
    index = folder / "index.sqlite"
    index.unlink()  # as an hour after the last check: opening looks at the files
    assert put(store_at(folder), 2)
    assert not young.exists()
    assert not live.exists()


class Heard:
    def __init__(self) -> None:
        self.calls: list[tuple[int, int]] = []

    def advance(self, done: int, total: int) -> None:
        self.calls.append((done, total))


def test_verify_reads_everything(folder: Path) -> None:
    store, heard = store_at(folder), Heard()
    for number in range(5):
        put(store, number)
    path = next(folder.rglob(f"{key_of(3).hex()}.kv"))
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    found = store.verify(heard)
    assert (found.units, found.bytes) == (5, 5 * len(data))
    assert found.damaged == {path.name: "the rows' checksum differs"}
    assert heard.calls[-1] == (5 * len(data), 5 * len(data))
    assert store.stats().units == 4
    assert store.verify(heard).damaged == {}
    assert [got(store, number) is not None for number in range(5)] == [True, True, True, False, True]


def test_prune_keeps_what_is_worth_most_or_was_used_lately(folder: Path) -> None:
    store = store_at(folder)
    for number in range(10):
        put(store, number, compute_ms=100.0 + number)
    freed = store.prune(budget_bytes=3 * 4096)
    assert (freed.units, freed.bytes) == (7, 7 * 4096)
    assert [number for number in range(10) if store.has(key_of(number))] == [7, 8, 9]
    assert store.prune(unused_days=1).units == 0
    time.sleep(0.01)
    assert store.prune(unused_days=0).units == 3
    assert store.stats().bytes == 0


def test_clear_leaves_nothing_that_was_computed(folder: Path) -> None:
    store = store_at(folder)
    salt = store.salt()
    for number in range(5):
        put(store, number)
    files(folder)[0].write_bytes(b"damage")
    for number in range(5):
        got(store, number)
    (files(folder)[0].parent / "draft-0123").write_bytes(b"half")
    assert store.clear().units == 4
    assert {path.name for path in folder.rglob("*")} == {"index.sqlite", "lock", "salt", "CACHEDIR.TAG"}
    assert store.stats().units == store.stats().quarantined == 0
    assert store.salt() == salt
    assert put(store, 1)
    assert got(store, 1) is not None


def test_upkeep_of_a_store_that_never_was_creates_nothing(folder: Path) -> None:
    store = store_at(folder)
    assert store.stats().units == 0
    assert store.verify(Heard()).units == store.prune().units == store.clear().units == 0
    store.close()
    assert not folder.exists()
