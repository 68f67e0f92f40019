"""What running a cell yields: events while it runs, a result when it has ended."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from journal.document import Cell


@dataclass(frozen=True)
class Result:
    """How a cell ended.

    `cell` is the cell's key, `kind` its code kind, `exit` the status of its last command (None: it never
    ended by itself), `ms` milliseconds. `output` is plain text with secrets redacted, head and tail when
    it is long (`truncated`); `spool` is the file that holds all of it. `died` tells that the shell or the
    kernel is gone and its state with it, and `notice` says so in one line.
    """

    cell: str
    kind: str
    exit: int | None
    ms: int
    output: str
    name: str = ""
    timed_out: bool = False
    interrupted: bool = False
    died: bool = False
    kernel_died: bool = False
    notice: str = ""
    truncated: bool = False
    spool: Path | None = None
    output_bytes: int = 0

    @property
    def ok(self) -> bool:
        """Whether the cell did what it was asked to."""
        return self.exit == 0 and not (self.timed_out or self.interrupted)

    @property
    def exit_code(self) -> int:
        """The exit code this result means for `steerway run`: 0, 1 failed, 3 timeout, 4 kernel died."""
        if self.timed_out:
            return 3
        if self.kernel_died and not self.interrupted:
            return 4
        return 0 if self.ok else 1


@dataclass(frozen=True)
class Started:
    """A cell began to run."""

    cell: Cell


@dataclass(frozen=True)
class Output:
    """New output of a cell, as text in which colours (SGR) are the only escapes.

    First `rewind` lines are taken back from what was said before (0 nearly always: a program moved its
    cursor up), then `text` is appended for good, then `tail` is what stands after it for now: an
    unfinished line, a progress bar, a full screen. The next event replaces `tail`.
    """

    cell: Cell
    text: str
    tail: str = ""
    rewind: int = 0


@dataclass(frozen=True)
class Finished:
    """A cell ended."""

    cell: Cell
    result: Result


@dataclass(frozen=True)
class Notice:
    """One line a person should see: a shell was started anew, a kernel died."""

    cell: Cell | None
    text: str


Event = Started | Output | Finished | Notice
