"""The shells and kernels of one journal: one of each kind, started when first needed, ended together."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from journal.document import Cell
from journal.run.dialects import SHELL_KINDS, default_dialect
from journal.run.shell import Shell

if TYPE_CHECKING:
    from journal.run.kernel import Kernel, OnInput

# Fences that show something and are not run, whatever their metadata says.
_SHOWN = (
    "text txt output json jsonc yaml yml toml ini csv tsv"
    " xml html css diff patch md markdown dot mermaid console"
)
DATA_KINDS = frozenset(_SHOWN.split(" "))
# Nobody is at the terminal of a cell: programs must not open a pager or wait for a password.
_QUIET = {"PAGER": "cat", "GIT_PAGER": "cat", "MANPAGER": "cat", "SYSTEMD_PAGER": "cat"}
_UNATTENDED = {"GIT_TERMINAL_PROMPT": "0", "DEBIAN_FRONTEND": "noninteractive"}


class Backends:
    """What cells run in. All cells of a kind share one process, so its state persists between them."""

    def __init__(
        self,
        root: Path,
        *,
        stdin: Literal["eof", "terminal"],
        on_input: OnInput | None,
        size: tuple[int, int],
        shell: str = "",
    ) -> None:
        self.root = root
        self.default = default_dialect(shell or os.environ.get("STEERWAY_SHELL", ""))
        self._stdin: Literal["eof", "terminal"] = stdin
        self._on_input = on_input
        self._size = size
        self._shells: dict[str, Shell] = {}
        self._kernels: dict[str, Kernel] = {}
        self._lock = threading.Lock()

    def place(self, cell: Cell) -> str:
        """Where the cell would run: "shell:bash", "kernel:python3", or "" for what is not run.

        Raises CellNotRunnable for code that nothing on this machine runs.
        """
        if not cell.is_code or cell.kind in DATA_KINDS:
            return ""
        if cell.kind in SHELL_KINDS:
            return f"shell:{SHELL_KINDS[cell.kind] or self.default}"
        from journal.run.kernelspecs import kernel_for

        return f"kernel:{kernel_for(cell.kind, self.root).name}"

    def shell(self, which: str = "") -> Shell:
        """The shell of that dialect, not necessarily started."""
        which = which or self.default
        with self._lock:
            if which not in self._shells:
                self._shells[which] = Shell(
                    which,
                    cwd=self.root,
                    environment=self._environment(),
                    size=self._size,
                    stdin=self._stdin,
                )
            return self._shells[which]

    def kernel(self, kind: str) -> Kernel:
        """The kernel for that kind of cell, not necessarily started."""
        from journal.run.kernel import Kernel
        from journal.run.kernelspecs import kernel_for

        choice = kernel_for(kind, self.root)
        with self._lock:
            if choice.name not in self._kernels:
                self._kernels[choice.name] = Kernel(
                    choice, cwd=self.root, environment=self._environment(), on_input=self._on_input
                )
            return self._kernels[choice.name]

    def _environment(self) -> dict[str, str]:
        quiet = _QUIET if self._stdin == "terminal" else {**_QUIET, **_UNATTENDED}
        return {**os.environ, **quiet}

    def resize(self, rows: int, columns: int) -> None:
        """The size of the terminal that cells see."""
        self._size = (rows, columns)
        for shell in list(self._shells.values()):
            shell.resize(rows, columns)

    def close(self) -> None:
        """End everything; what is asked for later starts anew."""
        with self._lock:
            for shell in self._shells.values():
                shell.close()
            for kernel in self._kernels.values():
                kernel.close()
