"""Runs a journal's cells: shells and kernels that stay, results recorded, events told."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from journal.document import Cell, Journal
from journal.errors import CellNotRunnable
from journal.run.backends import Backends
from journal.run.digest import Freshness, source_digest
from journal.run.recorder import Recorder
from journal.run.result import Event, Finished, Notice, Result, Started
from journal.run.shell import Ending, Shell
from journal.run.spool import Spool, outputs_folder, prune

if TYPE_CHECKING:
    from journal.run.kernel import Kernel, OnInput
    from journal.workspace import Workspace


@dataclass(frozen=True)
class _Call:
    """One run of one cell."""

    cell: Cell
    journal: Journal | None
    timeout: float | None
    params: Mapping[str, str]


class Runner:
    """Runs cells of one journal. Methods block; `interrupt`, `write`, `resize` come from any thread.

    `on_event` is called on the running thread. `stdin` "eof" is for headless runs; "terminal" lets
    programs read what `write` sends. `on_input` answers a python cell's `input()` (None: it is refused).
    Shells and kernels start when the first cell needs them and stay until `close`. `size` is rows, columns.
    """

    def __init__(
        self,
        journal_path: Path,
        workspace: Workspace,
        *,
        on_event: Callable[[Event], None] | None = None,
        stdin: Literal["eof", "terminal"] = "eof",
        on_input: OnInput | None = None,
        size: tuple[int, int] = (24, 100),
        shell: str = "",
    ) -> None:
        self.path = journal_path.absolute()
        self.workspace = workspace
        self.name = workspace.key(self.path)
        self._on_event = on_event or (lambda event: None)
        self._size = size
        self.backends = Backends(workspace.root, stdin=stdin, on_input=on_input, size=size, shell=shell)
        self._busy: Shell | Kernel | None = None
        self._running = False
        self._stopping = False
        self._remarked: set[str] = set()

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def runs_in(self, cell: Cell) -> str:
        """Where the cell would run: "shell:bash", "kernel:python3", or "" for what is not run."""
        return self.backends.place(cell)

    def prepare(self, cells: Sequence[Cell]) -> None:
        """Start in the background what these cells will need: a kernel takes a second or two."""
        for kind in {cell.kind for cell in cells if self.runs_in(cell).startswith("kernel:")}:
            self.backends.kernel(kind).start_soon()

    def run_cell(
        self,
        cell: Cell,
        *,
        timeout: float | None = None,
        params: Mapping[str, str] | None = None,
        journal: Journal | None = None,
    ) -> Result:
        """Run one cell and wait. `timeout` in seconds; `params` are variables (shell: environment).

        `journal` lets the record know what the cell needs and its step. Raises CellNotRunnable,
        ShellUnavailable, KernelUnavailable; a cell that fails is a result, not an error.
        """
        where = self.runs_in(cell)
        if not where:
            raise CellNotRunnable(
                f"cell {label(cell)} is {cell.kind}: it is not run", hint="choose a code cell", subject=cell
            )
        call = _Call(cell, journal, timeout, params or {})
        self._on_event(Started(cell))
        result = self._run(where, call)
        if result.notice:
            self._on_event(Notice(cell, result.notice))
        self._record(call, result)
        self._on_event(Finished(cell, result))
        return result

    def _run(self, where: str, call: _Call) -> Result:
        cell = call.cell
        folder = outputs_folder(self.workspace.state.folder, self.name)
        prune(folder.parent)
        recorder = Recorder(cell, Spool(folder, cell.key), self._on_event, self._size)
        started = time.monotonic()
        self._running = True
        try:
            ending, notice = self._dispatch(where, call, recorder, folder)
        finally:
            self._busy = None
            self._running = self._stopping = False
            ms = round((time.monotonic() - started) * 1000)
            output, truncated, spool = recorder.finish()
        return Result(
            cell=cell.key,
            kind=cell.kind,
            exit=ending.exit,
            ms=ms,
            output=output,
            name=cell.name,
            timed_out=ending.timed_out,
            interrupted=ending.interrupted,
            died=ending.died,
            kernel_died=ending.died and where.startswith("kernel:"),
            notice=notice,
            truncated=truncated,
            spool=spool,
            output_bytes=recorder.raw_bytes,
        )

    def _dispatch(self, where: str, call: _Call, recorder: Recorder, folder: Path) -> tuple[Ending, str]:
        place, _, which = where.partition(":")
        if place == "shell":
            return self._in_shell(which, call, recorder)
        return self._in_kernel(call, recorder, _Pictures(folder, call.cell.key))

    def _in_shell(self, which: str, call: _Call, recorder: Recorder) -> tuple[Ending, str]:
        shell = self.backends.shell(which)
        self._busy = shell
        if self._stopping:
            return Ending(130, interrupted=True), ""
        ending = shell.run(
            call.cell.text,
            name=label(call.cell).lstrip("#"),
            exports={**self.variables(call.cell, call.journal), **call.params},
            timeout=call.timeout,
            on_bytes=recorder.feed,
        )
        return ending, _shell_notice(which, ending)

    def _in_kernel(self, call: _Call, recorder: Recorder, pictures: _Pictures) -> tuple[Ending, str]:
        kernel = self.backends.kernel(call.cell.kind)
        self._remark(call.cell, kernel.choice.remark)
        self._busy = kernel
        if self._stopping:
            return Ending(130, interrupted=True), ""
        ending = kernel.run(
            call.cell.text,
            variables=call.params,
            exports=self.variables(call.cell, call.journal),
            timeout=call.timeout,
            on_bytes=recorder.feed,
            on_picture=pictures.save,
        )
        return ending, kernel.notice(ending)

    def _remark(self, cell: Cell, text: str) -> None:
        if text and text not in self._remarked:
            self._remarked.add(text)
            self._on_event(Notice(cell, text))

    def variables(self, cell: Cell, journal: Journal | None) -> dict[str, str]:
        """What every cell finds in its environment."""
        step = journal.step_of(cell) if journal else None
        return {
            "STEERWAY_JOURNAL": str(self.path),
            "STEERWAY_WORKSPACE": str(self.workspace.root),
            "STEERWAY_CELL": cell.name or cell.key,
            "STEERWAY_STEP": (step.id or step.title) if step else "",
        }

    def _record(self, call: _Call, result: Result) -> None:
        try:
            self.workspace.state.record_run(
                self.name,
                call.cell.key,
                kind=call.cell.kind,
                exit=None if result.interrupted else result.exit,
                ms=result.ms,
                source_digest=self.digest(call.cell, call.journal, call.params),
                output_path=str(result.spool),
            )
        except (OSError, sqlite3.Error) as error:
            self._on_event(Notice(call.cell, f"the run could not be recorded: {error}"))

    def digest(self, cell: Cell, journal: Journal | None, params: Mapping[str, str] | None = None) -> str:
        """What a result of the cell stands for now: its source, its needs, its parameters, where it runs."""
        whole = journal or Journal.parse(b"")
        place = {"where": self.runs_in(cell), **{f"param {k}": v for k, v in (params or {}).items()}}
        return source_digest(whole, cell, environment=place)

    def freshness(self, cell: Cell, journal: Journal, params: Mapping[str, str] | None = None) -> Freshness:
        """Whether the last result still stands for the cell as it is now."""
        last = self.workspace.state.last_run(self.name, cell.key)
        if last is None:
            return "never"
        if last.source_digest != self.digest(cell, journal, params):
            return "stale"
        return "fresh" if last.exit == 0 else "failed"

    def interrupt(self) -> None:
        """Interrupt the running cell; again, harder. Nothing runs: nothing happens."""
        self._stopping = self._running
        if busy := self._busy:
            busy.interrupt()

    def write(self, data: bytes) -> None:
        """Type to the running cell (shell cells, `stdin="terminal"`)."""
        if isinstance(busy := self._busy, Shell):
            busy.write(data)

    def resize(self, rows: int, columns: int) -> None:
        """The size of the terminal that cells see, from the next cell on also of its cleaned output."""
        self._size = (rows, columns)
        self.backends.resize(rows, columns)

    def restart(self) -> None:
        """End all shells and kernels; the next cell starts new ones. Their state is lost."""
        self.backends.close()

    def close(self) -> None:
        """End everything that was started. Idempotent."""
        self.backends.close()


class _Pictures:
    """Saves a cell's pictures beside its output."""

    def __init__(self, folder: Path, key: str) -> None:
        self._stem = Spool.stem(folder, key)
        self._count = 0

    def save(self, mime: str, content: bytes) -> None:
        self._count += 1
        suffix = mime.removeprefix("image/").partition("+")[0]
        self._stem.with_name(f"{self._stem.name}-{self._count}.{suffix}").write_bytes(content)


def label(cell: Cell) -> str:
    """What a person calls the cell."""
    return cell.name or cell.id or f"#{cell.index + 1}"


def _shell_notice(which: str, ending: Ending) -> str:
    if not ending.died:
        return ""
    how = "was ended" if ending.exit is None else f"ended with status {ending.exit}"
    return f"the {which} shell {how}: its variables and directory are lost, the next cell gets a new one"
