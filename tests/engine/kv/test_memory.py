"""The tier in RAM: within its budget, and the dearest to compute again stay."""

from __future__ import annotations

import random
import threading
import tracemalloc

import numpy as np
import pytest

from engine.kv.memory import Memory
from engine.kv.rows import Rows
from tests.engine.kv.made import SHAPE, key_of, rows_of

ROWS = rows_of(16)


def test_rows_stay_while_there_is_room() -> None:
    memory = Memory(3 * ROWS.nbytes)
    for number in range(3):
        assert memory.put(key_of(number), ROWS, compute_ms=100)
    assert memory.get(key_of(1)) is ROWS
    assert memory.get(key_of(9)) is None
    assert key_of(2) in memory
    stats = memory.stats()
    assert (stats.units, stats.bytes, stats.hits, stats.misses, stats.evictions) == (
        3,
        3 * ROWS.nbytes,
        1,
        1,
        0,
    )


def test_the_cheapest_goes_first_unless_it_is_used() -> None:
    memory = Memory(3 * ROWS.nbytes)
    for number, cost in enumerate((30.0, 10.0, 20.0)):
        memory.put(key_of(number), ROWS, compute_ms=cost)
    for _ in range(4):
        memory.get(key_of(1))
    memory.put(key_of(3), ROWS, compute_ms=25)
    assert [number for number in range(4) if key_of(number) in memory] == [0, 1, 3]
    memory.put(key_of(4), ROWS, compute_ms=1)
    assert [number for number in range(5) if key_of(number) in memory] == [1, 3, 4]


def test_a_large_cheap_unit_goes_before_a_small_dear_one() -> None:
    large = rows_of(160)
    memory = Memory(large.nbytes + 2 * ROWS.nbytes)
    memory.put(key_of(0), large, compute_ms=100)
    memory.put(key_of(1), ROWS, compute_ms=50)
    memory.put(key_of(2), ROWS, compute_ms=50)
    memory.put(key_of(3), ROWS, compute_ms=50)
    assert [number for number in range(4) if key_of(number) in memory] == [1, 2, 3]


def test_what_was_worth_much_long_ago_goes_in_the_end() -> None:
    memory = Memory(2 * ROWS.nbytes)
    memory.put(key_of(0), ROWS, compute_ms=500)
    for _ in range(1000):
        memory.get(key_of(0))
    lasted = next(
        n for n in range(1, 1000) if memory.put(key_of(n), ROWS, compute_ms=50) and key_of(0) not in memory
    )
    assert 20 < lasted < 200


def test_putting_again_replaces_and_discarding_forgets() -> None:
    memory = Memory(10 * ROWS.nbytes)
    other = rows_of(32)
    memory.put(key_of(0), ROWS, compute_ms=1)
    memory.put(key_of(0), other, compute_ms=1)
    assert memory.get(key_of(0)) is other
    assert memory.stats().bytes == other.nbytes
    memory.discard(key_of(0))
    memory.discard(key_of(0))
    assert memory.stats().bytes == len(memory) == 0
    memory.put(key_of(1), ROWS, compute_ms=1)
    memory.clear()
    assert memory.stats().bytes == len(memory) == 0


@pytest.mark.parametrize("budget", [0, ROWS.nbytes - 1])
def test_what_is_larger_than_the_budget_is_not_kept(budget: int) -> None:
    memory = Memory(budget)
    assert not memory.put(key_of(0), ROWS, compute_ms=1)
    assert memory.get(key_of(0)) is None


@pytest.mark.parametrize("cost", [float("nan"), float("inf"), -1.0, 0.0])
def test_costs_that_are_no_numbers_do_no_harm(cost: float) -> None:
    memory = Memory(2 * ROWS.nbytes)
    for number in range(5):
        memory.put(key_of(number), ROWS, compute_ms=cost)
        memory.get(key_of(number))
    memory.put(key_of(9), ROWS, compute_ms=5)
    assert key_of(9) in memory
    assert len(memory) == 2


def test_the_budget_holds_over_ten_thousand_puts_and_gets() -> None:
    chance, budget = random.Random(5), 300_000
    memory = Memory(budget)
    sizes = [rows_of(tokens) for tokens in (1, 16, 64, 200)]
    kept: dict[bytes, Rows] = {}
    for _ in range(10_000):
        key = key_of(chance.randrange(120))
        if chance.random() < 0.5:
            kept[key] = chance.choice(sizes)
            memory.put(key, kept[key], compute_ms=chance.uniform(1, 1000))
            assert memory.stats().bytes <= budget
        else:
            assert memory.get(key) in (None, kept.get(key))
    stats = memory.stats()
    assert stats.bytes == sum(kept[key_of(n)].nbytes for n in range(120) if key_of(n) in memory)
    assert stats.evictions > 500
    assert stats.hits > 500


def test_memory_is_flat_over_thousands_of_puts() -> None:
    memory = Memory(20 * 1000 * SHAPE.row_bytes("f16"))
    tracemalloc.start()
    held = []
    for step in range(3, 3003):
        data = np.zeros(1000 * SHAPE.row_bytes("f16"), dtype=np.uint8)
        memory.put(key_of(step), Rows(data, 1000, 0, "f16", SHAPE), compute_ms=step % 7)
        memory.get(key_of(step - 3))
        memory.discard(key_of(step - 1))
        if step % 1000 == 2:
            held.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert max(held) < 1.1 * memory.stats().budget_bytes
    assert held[-1] - held[0] < 200_000


def test_threads_share_it() -> None:
    memory = Memory(50 * ROWS.nbytes)
    wrong: list[bytes] = []
    rows = {key_of(n): rows_of(16, seed=n) for n in range(100)}

    def use(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(2000):
            key = chance.choice(list(rows))
            memory.put(key, rows[key], compute_ms=chance.random())
            other = chance.choice(list(rows))
            if memory.get(other) not in (None, rows[other]):
                wrong.append(other)

    threads = [threading.Thread(target=use, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert memory.stats().bytes == len(memory) * ROWS.nbytes <= 50 * ROWS.nbytes
