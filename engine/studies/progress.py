"""How far a study is, and how long it will take: a bar on a terminal, a line for each piece elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from engine.studies.kv_reuse import Progress

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress


class Lines:
    """A line for each finished piece, with the time that is left."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._clock = Clock()

    def begin(self, total: int) -> None:
        """Remember the total."""
        self._clock.total = total

    def step(self, what: str, *, fresh: bool) -> None:
        """Write it, unless an earlier run did the work."""
        self._clock.step(fresh=fresh)
        if fresh:
            done, total, left = self._clock.done, self._clock.total, self._clock.left_seconds()
            print(f"{done:4} of {total}  {what}, {_duration(left)} left", file=self._stream, flush=True)

    @contextmanager
    def within(self) -> Iterator[Progress]:
        """For the pieces of one piece."""
        yield Lines(self._stream)


class Bar:
    """A rich bar."""

    def __init__(self, bar: RichProgress) -> None:
        self._bar = bar
        self._task = bar.add_task("", total=None)
        self._clock = Clock()

    def begin(self, total: int) -> None:
        """Show the total."""
        self._clock.total = total
        self._bar.update(self._task, total=total)

    def step(self, what: str, *, fresh: bool) -> None:
        """Move the bar."""
        self._clock.step(fresh=fresh)
        left = f"{_duration(self._clock.left_seconds())} left"
        self._bar.update(self._task, completed=self._clock.done, description=left)

    @contextmanager
    def within(self) -> Iterator[Progress]:
        """A bar below, for the pieces of one piece."""
        inner = Bar(self._bar)
        yield inner
        self._bar.remove_task(inner._task)


class Clock:
    """Counts pieces; the time left follows the pieces this run did itself."""

    def __init__(self) -> None:
        self.total = 0
        self.done = 0
        self._own = 0
        self._start = time.monotonic()

    def step(self, *, fresh: bool) -> None:
        """One piece is done."""
        self.done += 1
        self._own += fresh

    def left_seconds(self) -> float:
        """At the pace so far."""
        return (time.monotonic() - self._start) / max(self._own, 1) * (self.total - self.done)


@contextmanager
def told(stream: TextIO) -> Iterator[Lines | Bar]:
    """Progress on `stream`."""
    if not stream.isatty():
        yield Lines(stream)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as RichProgress

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    with RichProgress(*columns, console=Console(file=stream), transient=True) as bar:
        yield Bar(bar)


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{seconds:.0f} s" if seconds < 90 else f"{minutes} min"
