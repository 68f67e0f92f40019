"""Writing what has settled: what an edit replaces within seconds never reaches the disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.kv.settling import Settling
from engine.kv.store import Store
from tests.engine.kv.made import COSTLY_MS, got, store_at, unit


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return store_at(tmp_path / "kv")


def put(settling: Settling, number: int, place: object = None) -> None:
    settling.put(*unit(number), compute_ms=COSTLY_MS, place=place)  # type: ignore[arg-type]


def written(store: Store) -> list[int]:
    return [number for number in range(50) if got(store, number) is not None]


def test_only_what_was_there_for_a_while_is_written(store: Store, clock: Clock) -> None:
    settling = Settling(store, settle_seconds=5, clock=clock)
    put(settling, 1, ("a.py", 0))
    put(settling, 2, ("a.py", 1))
    assert settling.write_due() == 0
    clock.now += 3
    put(settling, 3, ("a.py", 1))  # typed on: 2 is of no use any more
    clock.now += 3
    assert settling.write_due() == 0
    assert written(store) == [1]
    clock.now += 3
    settling.write_due()
    assert written(store) == [1, 3]
    assert len(settling) == 0


def test_one_unit_is_written_at_a_time(store: Store, clock: Clock) -> None:
    settling = Settling(store, settle_seconds=5, clock=clock)
    for number in range(4):
        put(settling, number)
    clock.now += 5
    assert [settling.write_due() for _ in range(5)] == [3, 2, 1, 0, 0]
    assert written(store) == [0, 1, 2, 3]


def test_the_end_of_the_program_writes_what_waits(store: Store, clock: Clock) -> None:
    settling = Settling(store, clock=clock)
    for number in range(4):
        put(settling, number, place=number % 2)
    settling.flush()
    assert written(store) == [2, 3]
    assert len(settling) == 0


def test_too_much_waiting_is_written_early(store: Store, clock: Clock) -> None:
    size = unit(1)[1].nbytes
    settling = Settling(store, limit_bytes=3 * size, clock=clock)
    for number in range(5):
        put(settling, number)
    assert written(store) == [0, 1]
    assert len(settling) == 3
