"""How many threads run the model."""

from __future__ import annotations

import os
from pathlib import Path

# Decoding reads every weight once a token: past the memory's bandwidth more threads only wait for each other.
MOST_THREADS = 8


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
