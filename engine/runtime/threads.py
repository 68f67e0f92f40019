"""How many threads run the model: chosen at the start, and followed by the machine's load."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

# Decoding reads every weight once a token: past the memory's bandwidth more threads only wait for each other.
MOST_THREADS = 8

_WINDOW_TOKENS = 3
FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 30.0
# A token's time, of the fastest with as many threads, above which fewer are tried early.
SLOW = 1.5
# And below which share of the slowest more are: whatever took the cores may be gone.
RELIEVED = 0.8
# A trial is a success below this share of the time before it, and ends at once above that multiple.
BETTER = 0.85
HOPELESS = 2.0
_FORGET = 1.002  # contexts grow: the fastest time is forgotten slowly


def default_threads() -> int:
    """Physical cores this process may use, at most MOST_THREADS; a container's quota counts."""
    usable = _usable()
    cores = _physical(usable) or len(usable)
    return max(1, min(cores, _quota() or cores, MOST_THREADS))


def _usable() -> frozenset[int]:
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def _physical(usable: frozenset[int]) -> int:
    """Cores behind the usable CPUs by Linux's topology files; 0 when they say nothing."""
    siblings = set()
    for cpu in usable:
        try:
            path = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
            siblings.add(path.read_text().strip())
        except OSError:
            return 0
    return len(siblings)


def _quota() -> int:
    """Whole CPUs the cgroup (v2) grants; 0 for no limit."""
    try:
        limit, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return 0 if limit == "max" else max(1, round(int(limit) / int(period)))
    except (OSError, ValueError):
        return 0


class Pace:
    """Follows the machine's load: fewer threads when other programs take the cores, more when they are back.

    A team of threads waits for its slowest at every node of the graph, so one thread without a core stalls
    all of them; fewer threads than free cores are then faster. What counts is measured: milliseconds of a
    token. From time to time, and at once when tokens become slow, a few tokens are decoded with the next
    lower or higher number; that number stays if it is faster. A trial that fails makes the next one of its
    direction wait twice as long, so that trials cost little.

        pace = Pace(most)
        context.set_threads(pace.threads)      # before a token
        pace.observe(ms)                       # after it
    """

    def __init__(self, most: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._levels = sorted({most, *(1 << n for n in range(most.bit_length()) if 1 << n <= most)})
        self._level = len(self._levels) - 1
        self._clock = clock
        self._recent: dict[int, deque[float]] = {}
        self._fastest: dict[int, float] = {}
        self._slowest: dict[int, float] = {}
        self._wait_s = {-1: FIRST_WAIT_S, 1: FIRST_WAIT_S}
        self._due = dict.fromkeys((-1, 1), clock() + FIRST_WAIT_S)
        self._trial: _Trial | None = None

    @property
    def threads(self) -> int:
        """How many to decode the next token with."""
        return self._levels[self._level]

    def observe(self, ms: float) -> None:
        """A token alone took `ms` with `threads`."""
        recent = self._recent.setdefault(self._level, deque(maxlen=_WINDOW_TOKENS))
        recent.append(ms)
        if self._trial is not None:
            self._judge(self._trial, ms)
        elif len(recent) == _WINDOW_TOKENS:
            now = median(recent)
            slow = now > SLOW * self._fastest.get(self._level, now)
            relieved = now < RELIEVED * self._slowest.get(self._level, now)
            self._fastest[self._level] = min(now, self._fastest.get(self._level, now) * _FORGET)
            self._slowest[self._level] = max(now, self._slowest.get(self._level, now) / _FORGET)
            self._consider(now, hurried={-1: slow, 1: relieved})

    def _consider(self, ms: float, *, hurried: dict[int, bool]) -> None:
        time_s = self._clock()
        for step in (-1, 1):
            possible = 0 <= self._level + step < len(self._levels)
            # When tokens became slow or fast the cause is likely new: do not wait out what an old trial said.
            early = hurried[step] and time_s >= self._due[step] - self._wait_s[step] + FIRST_WAIT_S
            if possible and (time_s >= self._due[step] or early):
                self._trial = _Trial(step, ms)
                self._slowest.pop(self._level, None)
                self._level += step
                self._recent.pop(self._level, None)
                return

    def _judge(self, trial: _Trial, ms: float) -> None:
        seen = self._recent[self._level]
        hopeless = ms > HOPELESS * trial.before_ms
        if len(seen) < _WINDOW_TOKENS and not hopeless:
            return
        better = not hopeless and median(seen) < BETTER * trial.before_ms
        if better:
            self._wait_s[trial.step] = FIRST_WAIT_S
            # Back is not worth a trial soon.
            self._wait_s[-trial.step] = 2 * FIRST_WAIT_S
        else:
            self._level -= trial.step
            self._wait_s[trial.step] = min(2 * self._wait_s[trial.step], LONGEST_WAIT_S)
        self._trial = None
        for step, wait_s in self._wait_s.items():
            self._due[step] = max(self._due[step], self._clock() + wait_s * (step == trial.step or better))


@dataclass(frozen=True)
class _Trial:
    """Another number of threads is tried: one `step` up or down, from tokens of `before_ms`."""

    step: int
    before_ms: float
