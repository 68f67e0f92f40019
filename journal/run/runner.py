"""Runs a journal's cells: shells and kernels that stay, results recorded, events told."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from journal.document import Cell, Journal
from journal.errors import CellNotRunnable
from journal.run import digest
from journal.run.dialects import SHELL_KINDS, default_dialect
from journal.run.recorder import Recorder
from journal.run.result import Event, Finished, Notice, Result, Started
from journal.run.shell import Ending, Shell
from journal.run.spool import Spool, outputs_folder, prune

if TYPE_CHECKING:
    from journal.run.kernel import Kernel, OnInput
    from journal.workspace import Workspace

# Fences that show something and are not run, whatever their metadata says.
DATA_KINDS = frozenset(
    [
        "text",
        "txt",
        "output",
        "json",
        "jsonc",
        "yaml",
        "yml",
        "toml",
        "ini",
        "csv",
        "tsv",
        "xml",
        "html",
        "css",
        "diff",
        "patch",
        "md",
        "markdown",
        "sql",
        "dot",
        "mermaid",
        "console",
    ]
)
# Nobody is at the terminal of a cell: programs must not open a pager or wait for a password.
_QUIET = {"PAGER": "cat", "GIT_PAGER": "cat", "MANPAGER": "cat", "SYSTEMD_PAGER": "cat"}
_UNATTENDED = {"GIT_TERMINAL_PROMPT": "0", "DEBIAN_FRONTEND": "noninteractive"}


class Runner:
    """Runs cells of one journal. Methods block; `interrupt`, `write`, `resize` come from any thread.

    `on_event` is called on the running thread. `stdin` "eof" is for headless runs; "terminal" lets
    programs read what `write` sends. `on_input` answers a python cell's `input()` (None: it is refused).
    Shells and kernels start when the first cell needs them and stay until `close`.
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
        self.name = _journal_name(self.path, workspace.root)
        self._on_event = on_event or (lambda event: None)
        self._stdin = stdin
        self._on_input = on_input
        self._size = size
        self._default = default_dialect(shell or os.environ.get("STEERWAY_SHELL", ""))
        self._shells: dict[str, Shell] = {}
        self._kernels: dict[str, Kernel] = {}
        self._busy: Shell | Kernel | None = None
        self._lock = threading.Lock()
        self._stopping = False

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def runs_in(self, cell: Cell) -> str:
        """Where the cell would run: "shell:bash", "kernel:python3", or "" for what is not run."""
        if not cell.is_code or cell.kind in DATA_KINDS:
            return ""
        if cell.kind in SHELL_KINDS:
            return f"shell:{SHELL_KINDS[cell.kind] or self._default}"
        from journal.run.kernelspecs import kernel_for

        return f"kernel:{kernel_for(cell.kind, self.workspace.root).name}"

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
        where, _, which = self.runs_in(cell).partition(":")
        if not where:
            raise CellNotRunnable(
                f"cell {label(cell)} is {cell.kind}: it is not run", hint="choose a code cell", subject=cell
            )
        self._stopping = False
        self._on_event(Started(cell))
        recorder = self._recorder(cell)
        started = time.monotonic()
        try:
            if where == "shell":
                ending, notice = self._in_shell(which, cell, recorder, timeout, params, journal)
            else:
                ending, notice = self._in_kernel(cell, recorder, timeout, params, journal)
        finally:
            self._busy = None
            ms = round((time.monotonic() - started) * 1000)
            output, truncated, spool = recorder.finish()
        result = Result(
            cell=cell.key,
            kind=cell.kind,
            exit=ending.exit,
            ms=ms,
            output=output,
            name=cell.name,
            timed_out=ending.timed_out,
            interrupted=ending.interrupted,
            died=ending.died,
            notice=notice,
            truncated=truncated,
            spool=spool,
            output_bytes=recorder.raw_bytes,
        )
        if notice:
            self._on_event(Notice(cell, notice))
        self._record(cell, result, journal, params)
        self._on_event(Finished(cell, result))
        return result

    def _recorder(self, cell: Cell) -> Recorder:
        folder = outputs_folder(self.workspace.root, self.name)
        prune(folder.parent)
        return Recorder(cell, Spool(folder, cell.key), self._on_event, self._size)

    def _in_shell(
        self,
        which: str,
        cell: Cell,
        recorder: Recorder,
        timeout: float | None,
        params: Mapping[str, str] | None,
        journal: Journal | None,
    ) -> tuple[Ending, str]:
        shell = self.shell(which)
        self._busy = shell
        if self._stopping:
            return Ending(130, interrupted=True), ""
        ending = shell.run(
            cell.text,
            name=cell.name or cell.id or cell.kind,
            exports={**self.variables(cell, journal), **(params or {})},
            timeout=timeout,
            on_bytes=recorder.feed,
        )
        return ending, _shell_notice(which, ending)

    def _in_kernel(
        self,
        cell: Cell,
        recorder: Recorder,
        timeout: float | None,
        params: Mapping[str, str] | None,
        journal: Journal | None,
    ) -> tuple[Ending, str]:
        kernel = self.kernel(cell.kind)
        self._busy = kernel
        if self._stopping:
            return Ending(130, interrupted=True), ""
        ending = kernel.run(
            cell.text,
            variables=dict(params or {}),
            exports=self.variables(cell, journal),
            timeout=timeout,
            on_bytes=recorder.feed,
        )
        return ending, kernel.notice(ending)

    def shell(self, which: str = "") -> Shell:
        """The journal's shell of that dialect, not necessarily started."""
        which = which or self._default
        with self._lock:
            if which not in self._shells:
                self._shells[which] = Shell(
                    which,
                    cwd=self.workspace.root,
                    environment=self._environment(),
                    size=self._size,
                    stdin=self._stdin,
                )
            return self._shells[which]

    def kernel(self, kind: str) -> Kernel:
        """The journal's kernel for that kind of cell, not necessarily started."""
        from journal.run.kernel import Kernel
        from journal.run.kernelspecs import kernel_for

        with self._lock:
            if kind not in self._kernels:
                choice = kernel_for(kind, self.workspace.root)
                self._kernels[kind] = Kernel(
                    choice, cwd=self.workspace.root, environment=self._environment(), on_input=self._on_input
                )
            return self._kernels[kind]

    def prepare(self, cells: tuple[Cell, ...]) -> None:
        """Start in the background what these cells will need: a kernel takes a second or two."""
        kinds = {cell.kind for cell in cells if self.runs_in(cell).startswith("kernel:")}
        for kind in kinds:
            self.kernel(kind).start_soon()

    def _environment(self) -> dict[str, str]:
        quiet = _QUIET if self._stdin == "terminal" else {**_QUIET, **_UNATTENDED}
        return {**os.environ, **quiet}

    def variables(self, cell: Cell, journal: Journal | None) -> dict[str, str]:
        """What every cell finds in its environment."""
        step = journal.step_of(cell) if journal else None
        return {
            "STEERWAY_JOURNAL": str(self.path),
            "STEERWAY_WORKSPACE": str(self.workspace.root),
            "STEERWAY_CELL": cell.name or cell.key,
            "STEERWAY_STEP": (step.id or step.title) if step else "",
        }

    def _record(
        self, cell: Cell, result: Result, journal: Journal | None, params: Mapping[str, str] | None
    ) -> None:
        try:
            self.workspace.state.record_run(
                self.name,
                cell.key,
                kind=cell.kind,
                exit=result.exit,
                ms=result.ms,
                source_digest=self.digest(cell, journal, params),
                output_path=str(result.spool),
            )
        except (OSError, sqlite3.Error) as error:
            self._on_event(Notice(cell, f"the run could not be recorded: {error}"))

    def digest(self, cell: Cell, journal: Journal | None, params: Mapping[str, str] | None = None) -> str:
        """What a result of the cell stands for now."""
        whole = journal or Journal.parse(cell.raw)
        place = {"where": self.runs_in(cell), **{f"param {k}": v for k, v in (params or {}).items()}}
        return digest.source_digest(whole, cell, environment=place)

    def freshness(
        self, cell: Cell, journal: Journal, params: Mapping[str, str] | None = None
    ) -> digest.Freshness:
        """Whether the last result still stands for the cell as it is now."""
        last = self.workspace.state.last_run(self.name, cell.key)
        if last is None:
            return "never"
        if last.source_digest != self.digest(cell, journal, params):
            return "stale"
        return "fresh" if last.exit == 0 else "failed"

    def interrupt(self) -> None:
        """Interrupt the running cell; again, harder."""
        self._stopping = True
        if self._busy:
            self._busy.interrupt()

    def write(self, data: bytes) -> None:
        """Type to the running cell (shell cells, `stdin="terminal"`)."""
        if isinstance(self._busy, Shell):
            self._busy.write(data)

    def resize(self, rows: int, columns: int) -> None:
        """The size of the terminal that cells see."""
        self._size = (rows, columns)
        for shell in self._shells.values():
            shell.resize(rows, columns)

    def restart(self) -> None:
        """End all shells and kernels; the next cell starts new ones. Their state is lost."""
        with self._lock:
            for runner in (*self._shells.values(), *self._kernels.values()):
                runner.close()

    def close(self) -> None:
        """End everything that was started. Idempotent."""
        self.restart()


def label(cell: Cell) -> str:
    """What a person calls the cell."""
    return cell.name or cell.id or f"#{cell.index + 1}"


def _journal_name(path: Path, root: Path) -> str:
    try:
        return path.relative_to(root).as_posix()
    except ValueError:
        return str(path)


def _shell_notice(which: str, ending: Ending) -> str:
    if not ending.died:
        return ""
    how = "was ended" if ending.exit is None else f"ended with status {ending.exit}"
    return f"the {which} {how}: its variables and directory are lost, the next cell gets a new one"
