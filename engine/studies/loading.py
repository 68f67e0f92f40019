"""Load or recompute: milliseconds to compute a document's rows, and to bring them back from each medium."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.studies.lab import BATCH_TOKENS, Block, Kind, Lab

LENGTHS = (64, 128, 256, 512, 1024, 2048, 4096)
KINDS: tuple[Kind, ...] = ("f16", "q8_0")
_ROUNDS = 5


@dataclass(frozen=True)
class Loading:
    """One length: `compute_ms` of prefill, `place_ms` of rotating rows from memory into the context.

    `page_cache_ms` and `disk_ms` are reading the rows' file and placing them; `disk_ms` with the file's pages
    dropped before, None where the machine does not drop them. `breakeven_mb_s`: a medium that delivers the
    bytes faster than this beats computing them.
    """

    tokens: int
    kind: Kind
    bytes: int
    compute_ms: float
    place_ms: float
    page_cache_ms: float
    disk_ms: float | None
    breakeven_mb_s: float


def measure(
    lab: Lab, tokens: Sequence[int], folder: Path, *, on_step: Callable[[], None]
) -> list[dict[str, Any]]:
    """A row for each length that fits into the lab's context and `tokens`, and kind of rows."""
    lengths = [length for length in LENGTHS if length <= min(len(tokens), lab.context.context_tokens)]
    compute = _compute(lab, tokens, lengths)
    found = []
    for length in lengths:
        for kind in KINDS:
            found.append(vars(_row(lab, tokens[:length], kind, compute[length], folder)))
        on_step()
    return found


def _compute(lab: Lab, tokens: Sequence[int], lengths: Sequence[int]) -> dict[int, float]:
    """Milliseconds of prefill of each length: the medians of rounds, long ones once."""
    found = {}
    for length in lengths:
        times = []
        for _ in range(_ROUNDS if length <= BATCH_TOKENS else 1):
            lab.clear()
            times.append(_timed(lambda length=length: lab.hold(tokens[:length])))  # type: ignore[misc]
        found[length] = statistics.median(times)
    return found


def _row(lab: Lab, tokens: Sequence[int], kind: Kind, compute_ms: float, folder: Path) -> Loading:
    lab.hold(tokens)
    rows = lab.context.read(0, len(tokens), kind=kind)
    block = Block(rows, tuple(tokens), 0, kind)
    place_ms = _median(lambda: _place(lab, block), before=lab.clear)
    with tempfile.TemporaryDirectory(dir=folder) as place:
        path = Path(place) / "rows"
        path.write_bytes(rows.tobytes())
        from_file = lambda: _place(lab, Block(_read(path), tuple(tokens), 0, kind))  # noqa: E731
        page_ms = _median(from_file, before=lab.clear)
        cold = _can_drop(path)
        disk_ms = _median(from_file, before=lambda: _chilled(lab, path)) if cold else None
    spare = max(compute_ms - place_ms, 1e-3)
    return Loading(
        tokens=len(tokens),
        kind=kind,
        bytes=rows.nbytes,
        compute_ms=compute_ms,
        place_ms=place_ms,
        page_cache_ms=page_ms,
        disk_ms=disk_ms,
        breakeven_mb_s=rows.nbytes / spare / 1000,
    )


def _place(lab: Lab, block: Block) -> None:
    lab.place(block, 8)  # not where it was computed: the rotation is part of the price


def _read(path: Path) -> NDArray[np.uint8]:
    return np.fromfile(path, np.uint8)


def _can_drop(path: Path) -> bool:
    return hasattr(os, "posix_fadvise") and hasattr(os, "fsync") and path.exists()


def _drop(path: Path) -> None:
    """Ask the kernel to forget the file's pages; a file system in memory keeps them."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _chilled(lab: Lab, path: Path) -> None:
    lab.clear()
    _drop(path)


def _median(work: Callable[[], object], *, before: Callable[[], object]) -> float:
    times = []
    for _ in range(_ROUNDS):
        before()
        times.append(_timed(work))
    return statistics.median(times)


def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1000
