"""The queue of cells to run: one thread runs them in order, views ask how each of them is doing."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from engine.errors import SteerwayError
from journal.document import Cell, Journal
from journal.run.result import Event, Finished, Notice, Output, Result
from journal.session.output import Lines

if TYPE_CHECKING:
    from journal.run.runner import Runner
    from journal.workspace import Workspace


def label(cell: Cell) -> str:
    """What a person calls the cell."""
    return cell.name or cell.id or f"#{cell.index + 1}"


@dataclass(eq=False)
class CellRun:
    """How a cell's last run is doing. `started` is `time.monotonic()`, `text` what was run."""

    state: Literal["queued", "running", "done"]
    text: str
    lines: Lines = field(default_factory=Lines)
    result: Result | None = None
    started: float = 0.0
    problem: str = ""


@dataclass(frozen=True)
class Order:
    """A cell to run, and the journal it stands in."""

    cell: Cell
    journal: Journal
    batch: int


class Execution:
    """Runs cells one after the other. `on_change(key)` is called from any thread; "" means a notice came.

    A cell that fails takes back those behind it that were ordered together with it. `on_input` answers a
    Python cell's `input()` and is called from the running thread.
    """

    def __init__(
        self,
        path: Path,
        workspace: Workspace,
        *,
        on_change: Callable[[str], None],
        on_input: Callable[[str, bool], str] | None = None,
        size: tuple[int, int] = (24, 100),
    ) -> None:
        self._place = (path, workspace)
        self._on_input, self._size = on_input, size
        self._runner: Runner | None = None
        self._making = threading.Lock()
        self.runs: dict[str, CellRun] = {}
        self.notices: deque[str] = deque(maxlen=20)
        self.running: Cell | None = None
        self._on_change = on_change
        self._queue: deque[Order] = deque()
        self._condition = threading.Condition()
        self._batches = 0
        self._closed = False
        self._thread: threading.Thread | None = None

    @property
    def runner(self) -> Runner:
        """What runs them; made when first asked for, since opening a journal should not wait for it."""
        from journal.run.runner import Runner

        with self._making:
            if self._runner is None:
                self._runner = Runner(
                    *self._place,
                    on_event=self._event,
                    stdin="terminal",
                    on_input=self._on_input,
                    size=self._size,
                )
            return self._runner

    def resize(self, rows: int, columns: int) -> None:
        """The size of the terminal that cells see."""
        self._size = (rows, columns)
        if self._runner is not None:
            self._runner.resize(rows, columns)

    @property
    def busy(self) -> bool:
        """Whether a cell runs or waits."""
        return self.running is not None or bool(self._queue)

    def run(self, cells: Sequence[Cell], journal: Journal) -> None:
        """Order these cells to be run, in this order, after those that wait already."""
        with self._condition:
            self._batches += 1
            for cell in cells:
                self._queue.append(Order(cell, journal, self._batches))
                if self.running is None or self.running.key != cell.key:
                    self.runs[cell.key] = CellRun("queued", cell.text)
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name="steerway-run", daemon=True)
                self._thread.start()
            self._condition.notify()
        for cell in cells:
            self._on_change(cell.key)

    def interrupt(self) -> bool:
        """Stop the running cell and forget those that wait; whether there was anything."""
        with self._condition:
            busy = self.busy
            self._forget(None)
        if self._runner is not None:
            self._runner.interrupt()
        return busy

    def write(self, text: str) -> None:
        """Type to the running cell."""
        self.runner.write(text.encode())

    def restart(self) -> None:
        """End shells and kernels; their state is lost. Blocks."""
        self.interrupt()
        if self._runner is not None:
            self._runner.restart()

    def close(self) -> None:
        """Stop everything. Blocks."""
        self.interrupt()
        with self._condition:
            self._closed = True
            self._condition.notify()
            thread = self._thread
        if self._runner is not None:
            self._runner.close()
        if thread is not None:
            thread.join(10)

    def _forget(self, batch: int | None) -> None:
        """Drop what waits (of one batch); needs the lock."""
        dropped = [order for order in self._queue if batch in (None, order.batch)]
        self._queue = deque(order for order in self._queue if order not in dropped)
        for order in dropped:
            run = self.runs.get(order.cell.key)
            if run is not None and run.state == "queued":
                del self.runs[order.cell.key]
                self._on_change(order.cell.key)

    def _serve(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._closed or self._queue)
                if self._closed:
                    return
                order = self._queue.popleft()
                self.running = order.cell
                self.runs[order.cell.key] = CellRun("running", order.cell.text, started=time.monotonic())
            ok = self._run(order)
            with self._condition:
                self.running = None
                if not ok:
                    self._forget(order.batch)
            self._on_change(order.cell.key)

    def _run(self, order: Order) -> bool:
        run = self.runs[order.cell.key]
        self._on_change(order.cell.key)
        try:
            run.result = self.runner.run_cell(order.cell, journal=order.journal)
        except SteerwayError as error:
            run.problem = str(error)
        except Exception as error:
            # A run must never take the program, and unsaved text with it, down.
            run.problem = f"{label(order.cell)} could not be run: {error!r}"
        run.state = "done"
        return run.result is not None and run.result.ok

    def _event(self, event: Event) -> None:
        if isinstance(event, Output):
            self.runs[event.cell.key].lines.take(event)
            self._on_change(event.cell.key)
        elif isinstance(event, Notice):
            self.notices.append(event.text)
            self._on_change("")
        elif isinstance(event, Finished):
            self._on_change(event.cell.key)
