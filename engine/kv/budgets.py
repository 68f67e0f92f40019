"""How much may be kept, what is worth keeping, and what goes first. Shared by the RAM tier and the disk tier.

Units differ in size and in what it costs to compute them again, so the least recently used is not the one
to lose. GreedyDual-Size (Cao and Irani, USITS 1997) evicts the unit of lowest cost per byte on top of an
age that rises with every eviction; counting uses as well is GreedyDual-Size-Frequency (Cherkasova,
HPL-98-69R1). Costs are milliseconds of prefill.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path

from engine.kv.rows import RowKind
from engine.settings import Settings

MEGABYTE = 1_000_000
# A unit used daily for a month must not outstay what replaced it by as many generations.
MAX_USES = 8
# What reading is assumed to cost: a SATA solid state disk, cold, with a file's opening.
READ_BYTES_PER_MS = 500_000
OPEN_MS = 0.2
# A unit is written when computing it takes this many times as long as reading it.
MIN_GAIN = 2.0
_BLOCK_BYTES = 4096


@dataclass(frozen=True)
class Budgets:
    """The user's limits, in bytes, and the kind of rows that is stored."""

    memory_bytes: int
    disk_bytes: int
    floor_bytes: int
    kind: RowKind

    @classmethod
    def of(cls, settings: Settings) -> Budgets:
        """The settings' `kv_memory_mb`, `kv_disk_mb`, `kv_disk_free_mb` and `kv_type`."""
        return cls(
            memory_bytes=settings.kv_memory_mb * MEGABYTE,
            disk_bytes=settings.kv_disk_mb * MEGABYTE,
            floor_bytes=settings.kv_disk_free_mb * MEGABYTE,
            kind=settings.kv_type,
        )


def priority(age: float, compute_ms: float, size: int, uses: int) -> float:
    """What keeping a unit of `size` bytes is worth; the lowest goes first. `age`: the last evicted one's."""
    cost = compute_ms if math.isfinite(compute_ms) else 0.0
    return age + min(uses, MAX_USES) * cost / max(size, 1)


def worth_writing(compute_ms: float, size: int) -> bool:
    """Whether reading `size` bytes is clearly cheaper than `compute_ms` of computing; a NaN never is."""
    return math.isfinite(compute_ms) and compute_ms >= MIN_GAIN * (OPEN_MS + size / READ_BYTES_PER_MS)


def on_disk(size: int) -> int:
    """Bytes a file of `size` takes up in blocks of 4 KiB."""
    return -(-size // _BLOCK_BYTES) * _BLOCK_BYTES


def free_bytes(folder: Path) -> int:
    """Bytes this user may still write where `folder` is; endless where a file system does not say.

    Raises OSError.
    """
    space = os.statvfs(folder)
    return space.f_bavail * space.f_frsize if space.f_blocks else 1 << 62
