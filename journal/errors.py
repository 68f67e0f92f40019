"""The journal's errors, named after what a person can do about them.

SteerwayError
└── JournalError                                                                 2
    ├── CellUnknown           no cell with that id, name or position
    ├── StepUnknown           no step with that id, title or number
    ├── TextWouldSplit        the new text would change where cells begin or end
    ├── JournalUnreadable     no such file, a folder, no permission
    ├── JournalConflict       the file changed on disk since it was read
    ├── JournalReadOnly       the file or its folder cannot be written
    ├── JournalUnsaved        the disk is full or failed; what was typed is in a recovery file
    └── JournalExists         a new journal would overwrite a file
"""

from __future__ import annotations

from engine.errors import SteerwayError


class JournalError(SteerwayError):
    exit_code = 2


class CellUnknown(JournalError): ...


class StepUnknown(JournalError): ...


class TextWouldSplit(JournalError): ...


class JournalUnreadable(JournalError): ...


class JournalConflict(JournalError): ...


class JournalReadOnly(JournalError): ...


class JournalUnsaved(JournalError): ...


class JournalExists(JournalError): ...
