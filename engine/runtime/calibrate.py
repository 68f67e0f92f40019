"""Measures what a request costs on this machine: about a second, once per machine, model and build.

The constants are those of an idle machine as far as it lets us: of several tries the fastest counts, and what
the machine's other work adds is left to the cost model's corrections.
"""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from engine.errors import EngineError
from engine.kv import cost_file
from engine.kv.cost import MB, CostModel, Costs
from engine.kv.rows import RowKind
from engine.request import Cancel
from engine.runtime import build, extension
from engine.runtime.context import Aborted, Context
from engine.runtime.kv import CHUNK_TOKENS
from engine.runtime.llama import Model

log = logging.getLogger(__name__)

SECONDS = 1.5
# Constants older than this are measured again: drivers, kernels and power plans change.
STALE_SECONDS = 7 * 86_400.0
BATCHES = (1, 8, 32, CHUNK_TOKENS)
ATTENDED_TOKENS = 1024
DISK_BYTES = 4 * MB
_FIRST_READ_BYTES = 4096
_TRIES = 3


class Calibrator:
    """Keeps a cost model's constants: on disk between processes, measured when missing, old or wrong.

    `model_key` names the model's content; `folder` holds the measurements (`<state>/cost`), `disk` is where
    rows are read from.
    """

    def __init__(
        self, cost: CostModel, model: Model, *, model_key: str, folder: Path, disk: Path, threads: int,
        kind: RowKind = "q8_0", clock: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        self._cost = cost
        self._model = model
        self._folder = folder
        self._disk = disk
        self._threads = threads
        self._kind = kind
        self._clock = clock
        self._key = cost_file.key_of(model=model_key, build=build.identity(), threads=threads)

    def load(self) -> None:
        """Take over what an earlier process measured, if anything."""
        found = cost_file.read(self._folder, self._key)
        if found is not None:
            self._cost.adopt(found[0])
            self._cost.remember(found[1])

    def save(self) -> None:
        """Keep the constants and their corrections for the next process. Nothing is kept of assumed ones."""
        if self._cost.costs.measured:
            cost_file.write(self._folder, self._key, self._cost.costs, self._cost.ratios())

    @property
    def due(self) -> bool:
        """Whether it is time to measure: never done here, too old (or from the future), or wrong for long."""
        age = self._clock() - self._cost.costs.measured
        return not 0 <= age <= STALE_SECONDS or self._cost.off_for_long

    def run(self, cancel: Cancel | None = None) -> bool:
        """Measure, in a context of its own, and keep it. False when `cancel` or a failure ended it: the
        constants are then as before.
        """
        try:
            costs = self._measured(cancel or Cancel())
        except Aborted:
            return False
        except EngineError as error:
            log.info("the machine could not be measured: %s", error)
            return False
        self._cost.adopt(replace(costs, measured=self._clock()))
        self.save()
        return True

    def _measured(self, cancel: Cancel) -> Costs:
        context = Context(
            self._model,
            context_tokens=ATTENDED_TOKENS + CHUNK_TOKENS,
            batch_tokens=CHUNK_TOKENS,
            threads=self._threads,
            features=(extension.KV_ROWS,),
        )
        forget = cancel.listen(context.abort)
        try:
            costs = measure(context, vocabulary=self._model.vocabulary_size, kind=self._kind)
        finally:
            forget()
            context.close()
        return with_disk(costs, self._disk)


def measure(
    context: Context,
    *,
    vocabulary: int,
    kind: RowKind = "q8_0",
    seconds: float = SECONDS,
    clock: Callable[[], float] = time.perf_counter,
) -> Costs:
    """What `context` (empty, and empty again afterwards) costs, in about `seconds`; the rest is assumed.

    Raises Aborted and EngineError.
    """
    bench = _Bench(context, vocabulary, clock, clock() + seconds)
    bench.decode(1, 0)
    batches = [(1, bench.decode(1, 0, tries=_TRIES)), (8, bench.decode(8, 0, tries=2))]
    costs = Costs(batches=tuple(batches), decode_ms=batches[0][1])
    if context.rows_supported:
        costs = _attended(bench, costs, kind)
    for size in BATCHES[2:]:
        (n0, t0), (n1, t1) = batches[-2:]
        guess = t1 + (t1 - t0) / (n1 - n0) * (size - n1)
        if size <= context.batch_tokens and guess < bench.left_ms:
            batches.append((size, bench.decode(size, 0)))
    context.clear()
    return replace(costs, batches=_ascending(batches))


def with_disk(costs: Costs, folder: Path) -> Costs:
    """`costs` with the speed of the disk that holds `folder`; unchanged where that cannot be measured.

    The file is put out of the page cache before it is read, where the system can do that.
    """
    try:
        started, read = _read_times(folder)
    except (OSError, AttributeError) as error:
        log.info("the disk could not be measured: %s", error)
        return costs
    return replace(costs, read_ms=started, disk_ms=read / (DISK_BYTES / MB))


class _Bench:
    """Times decodes and writes; each leaves the context as it was."""

    def __init__(
        self, context: Context, vocabulary: int, clock: Callable[[], float], deadline: float
    ) -> None:
        self.context = context
        self._clock = clock
        self._deadline = deadline
        # Different tokens: a mixture of experts would send equal ones all the same way.
        self._tokens = [(7919 * n + 11) % vocabulary for n in range(CHUNK_TOKENS)]

    @property
    def left_ms(self) -> float:
        """Milliseconds until the measuring should be over."""
        return 1000 * (self._deadline - self._clock())

    def decode(self, count: int, position: int, *, tries: int = 1) -> float:
        """Milliseconds of `count` tokens at once behind `position` cached ones, the fastest of `tries`."""
        return self._fastest(lambda: self.context.decode(self._tokens[:count], position), position, tries)

    def write(self, rows: np.ndarray, count: int, kind: RowKind, *, delta: int) -> float:
        """Milliseconds of placing `count` tokens' rows, rotated by `delta` positions."""

        def write() -> None:
            self.context.write(rows, total=count, first=0, count=count, position=0, delta=delta, kind=kind)

        return self._fastest(write, 0, _TRIES)

    def _fastest(self, act: Callable[[], None], position: int, tries: int) -> float:
        times = []
        for _ in range(tries):
            started = self._clock()
            act()
            times.append(1000 * (self._clock() - started))
            self.context.remove(position)
            if self.left_ms < 0:
                break
        return max(min(times), 1e-3)


def _attended(bench: _Bench, costs: Costs, kind: RowKind) -> Costs:
    """`costs` with the prices of placing rows and, while there is time, of attending to them."""
    context = bench.context
    try:
        size = context.row_bytes(kind)
    except (extension.Refused, ValueError):
        kind, size = "f16", context.row_bytes("f16")
    count = ATTENDED_TOKENS
    # Not zeros, whose pages the system would not even fill.
    rows = np.ones(size * count, np.uint8)
    placed = bench.write(rows, count, kind, delta=0)
    if context.rotation_supported:
        costs = replace(costs, rotate_ms=max(0.0, bench.write(rows, count, kind, delta=1) - placed) / count)
    costs = replace(costs, ram_ms=placed / (rows.nbytes / MB))
    context.write(rows, total=count, first=0, count=count, position=0, delta=0, kind=kind)
    if bench.left_ms > 0:
        one = bench.decode(1, count, tries=_TRIES)
        costs = replace(costs, decode_attend_ms=max(0.0, one - costs.decode_ms) / count)
    if bench.left_ms > 0:
        eight = bench.decode(8, count)
        costs = replace(costs, attend_ms=max(0.0, eight - costs.batches[1][1]) / (8 * count))
    context.clear()
    return costs


def _ascending(batches: list[tuple[int, float]]) -> tuple[tuple[int, float], ...]:
    """More tokens at once never take less: what says otherwise was a hiccup in the smaller ones."""
    least, found = float("inf"), []
    for size, ms in reversed(batches):
        least = min(least, ms)
        found.append((size, least))
    return tuple(reversed(found))


def _read_times(folder: Path) -> tuple[float, float]:
    """Milliseconds until the first bytes of a new file are here, and of reading all of it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".speed-") as file:
        file.write(os.urandom(DISK_BYTES))
        file.flush()
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        started = time.perf_counter()
        with Path(file.name).open("rb", buffering=0) as again:
            again.read(_FIRST_READ_BYTES)
            first = time.perf_counter()
            while again.read(MB):
                pass
        ended = time.perf_counter()
    return 1000 * (first - started), 1000 * (ended - first)
