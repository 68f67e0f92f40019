"""The journal's errors, named after what a person can do about them.

SteerwayError
└── JournalError                                                                 2
    ├── CellUnknown           no cell with that id, name or position
    ├── StepUnknown           no step with that id, title or number
    ├── TextWouldSplit        the new text would change where cells begin or end
    ├── MetadataUnreadable    a cell's metadata has to be mended by hand first
    ├── IdTaken               another cell has that id
    ├── KindUnknown           no cell can be of that kind
    ├── NoConflict            the cell to resolve is not a conflict
    ├── JournalUnreadable     no such file, a folder, no permission
    ├── JournalConflict       the file changed on disk since it was read
    ├── JournalReadOnly       the file or its folder cannot be written
    ├── JournalUnsaved        the disk is full or failed; what was typed is in a recovery file
    ├── JournalExists         a new journal would overwrite a file
    ├── CellNotRunnable       not a code cell, or nothing on this machine runs its language
    ├── ShellUnavailable      the shell is not there or does not start
    ├── KernelUnavailable     the Jupyter kernel is not there or does not start
    ├── NotTrusted            running was not agreed to
    ├── CellFailed            a cell ended with another status than 0                1
    ├── CellTimeout           a cell took longer than it may                        3
    └── KernelDied            the kernel ended in the middle of a cell              4
"""

from __future__ import annotations

from engine.errors import SteerwayError


class JournalError(SteerwayError):
    exit_code = 2


class CellUnknown(JournalError): ...


class StepUnknown(JournalError): ...


class TextWouldSplit(JournalError): ...


class MetadataUnreadable(JournalError): ...


class IdTaken(JournalError): ...


class KindUnknown(JournalError): ...


class NoConflict(JournalError): ...


class JournalUnreadable(JournalError): ...


class JournalConflict(JournalError): ...


class JournalReadOnly(JournalError): ...


class JournalUnsaved(JournalError): ...


class JournalExists(JournalError): ...


class CellNotRunnable(JournalError): ...


class ShellUnavailable(JournalError): ...


class KernelUnavailable(JournalError): ...


class NotTrusted(JournalError): ...


class CellFailed(JournalError):
    exit_code = 1


class CellTimeout(JournalError):
    exit_code = 3


class KernelDied(JournalError):
    exit_code = 4
