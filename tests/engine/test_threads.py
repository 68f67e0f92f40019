"""Threads that follow the load, on a machine of arithmetic and a clock of its own."""

from __future__ import annotations

from collections.abc import Callable
from statistics import mean

import pytest

from engine.runtime.threads import LONGEST_WAIT_S, Pace, default_threads

Machine = Callable[[int], float]


class Desk:
    """Decodes tokens with what `pace` says, on a clock that moves by their time."""

    def __init__(self, most: int) -> None:
        self.now = 0.0
        self.pace = Pace(most, clock=lambda: self.now)

    def decode(self, machine: Machine, tokens: int) -> list[float]:
        """Milliseconds of each token; `machine` says them for a number of threads."""
        found = []
        for _ in range(tokens):
            ms = machine(self.pace.threads)
            self.now += ms / 1000
            self.pace.observe(ms)
            found.append(ms)
        return found


def idle(threads: int) -> float:
    """As measured: two cores, default model."""
    return {1: 31.0, 2: 24.0}[threads]


def busy(threads: int) -> float:
    """Both cores taken: two threads wait for each other."""
    return {1: 60.0, 2: 240.0}[threads]


def test_when_cores_are_taken_fewer_threads_run_and_all_come_back() -> None:
    desk = Desk(2)
    desk.decode(idle, 200)
    assert desk.pace.threads == 2
    taken = desk.decode(busy, 400)
    assert sorted(taken)[int(len(taken) * 0.9)] == 60.0
    assert mean(taken[-200:]) < 66
    desk.decode(idle, 1500)
    assert mean(desk.decode(idle, 300)) < 25


@pytest.mark.parametrize("tokens", range(1500, 2500, 100))
def test_cores_that_come_back_are_used_within_seconds(tokens: int) -> None:
    """Tokens that become fast say that what took the cores is gone: an old trial's wait is not waited out."""
    desk = Desk(2)
    desk.decode(busy, tokens)
    free_since = desk.now
    while desk.pace.threads == 1 and desk.now < free_since + LONGEST_WAIT_S:
        desk.decode(idle, 4)
    assert desk.now - free_since < 3.0


def test_on_an_idle_machine_trials_cost_little() -> None:
    desk = Desk(2)
    assert mean(desk.decode(idle, 2000)) < 24.0 * 1.02


def test_load_that_is_there_from_the_start_is_found() -> None:
    desk = Desk(2)
    assert mean(desk.decode(busy, 400)) < 70


def test_a_slow_token_alone_changes_nothing() -> None:
    desk = Desk(2)
    desk.decode(idle, 100)
    before = desk.pace.threads
    desk.decode(lambda threads: 900.0, 1)
    desk.decode(idle, 12)
    assert desk.pace.threads == before


@pytest.mark.parametrize(("most", "best"), [(8, 8), (8, 4), (8, 1), (6, 6), (6, 2), (1, 1)])
def test_the_fastest_number_is_found(most: int, best: int) -> None:
    def machine(threads: int) -> float:
        return 100.0 * (best / threads if threads <= best else (threads / best) ** 2)

    desk = Desk(most)
    desk.decode(machine, 1000)
    assert mean(desk.decode(machine, 400)) < 110


def test_contexts_that_grow_are_no_load() -> None:
    desk = Desk(2)
    spent = []
    for n in range(300):

        def growing(threads: int, n: int = n) -> float:
            return idle(threads) * (1 + n / 100)

        spent += desk.decode(growing, 4)
    ideal = [idle(2) * (1 + n / 100) for n in range(300) for _ in range(4)]
    assert sum(spent) < 1.03 * sum(ideal)


def test_trials_that_fail_become_rare() -> None:
    desk = Desk(2)
    seen: list[float] = []
    for _ in range(20_000):
        before = desk.pace.threads
        desk.decode(idle, 1)
        if before == 2 and desk.pace.threads == 1:
            seen.append(desk.now)
    assert seen[-1] - seen[-2] >= LONGEST_WAIT_S


def test_a_machine_has_at_least_one_thread() -> None:
    assert 1 <= default_threads() <= 8
    assert Pace(1).threads == 1
