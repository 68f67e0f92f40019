"""What a download tells a person: a bar on a terminal, a line every tenth elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

STEP_PERCENT = 10


class Progress(Protocol):
    """Hears about a long job: `note` one line of news, `advance` how many of `total` bytes are there."""

    def note(self, line: str) -> None:
        """One line of news."""
        ...

    def advance(self, done: int, total: int) -> None:
        """`done` of `total` bytes are there. May go back when a source has to be given up."""
        ...


class Silent:
    """Tells nobody."""

    def note(self, line: str) -> None:
        """Drop it."""

    def advance(self, done: int, total: int) -> None:
        """Drop it."""


class Lines:
    """Plain lines, one for every `STEP_PERCENT`: for logs and pipes."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._last = 0
        self._start = time.monotonic()

    def note(self, line: str) -> None:
        """Write it."""
        print(line, file=self._stream, flush=True)

    def advance(self, done: int, total: int) -> None:
        """Write a line when another tenth is there."""
        step = 100 * done // max(total, 1) // STEP_PERCENT * STEP_PERCENT
        if step > self._last:
            self._last = step
            seconds = time.monotonic() - self._start
            self.note(f"  {step:3} %  {megabytes(done)} of {megabytes(total)}, {seconds:.0f} s")


class Bar:
    """A rich progress bar; news is printed above it."""

    def __init__(self, bar: RichProgress) -> None:
        self._bar = bar
        self._task = bar.add_task("", total=None, visible=False)

    def note(self, line: str) -> None:
        """Print above the bar."""
        self._bar.console.print(line, highlight=False, markup=False, soft_wrap=True)

    def advance(self, done: int, total: int) -> None:
        """Move the bar."""
        self._bar.update(self._task, completed=done, total=total, visible=True)


@contextmanager
def narrate(stream: TextIO | None = None) -> Iterator[Progress]:
    """Progress on `stream` (default stderr): a bar where that is a terminal, lines elsewhere."""
    out = stream or sys.stderr
    if not out.isatty():
        yield Lines(out)
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(file=out), transient=True) as bar:
        yield Bar(bar)


def megabytes(count: int) -> str:
    """`count` bytes in words: 491400064 is `491 MB`."""
    for limit, unit in ((1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")):
        if count >= limit:
            scaled = count / limit
            return f"{scaled:.2f} {unit}" if unit == "GB" else f"{scaled:.0f} {unit}"
    return f"{count} bytes"
