"""The engine's errors, named after what a person can do about them.

SteerwayError                 one line, what to do next, an exit code
├── UsageError                the command or argument is off                     2
├── SettingsError             the user's configuration file is off               2
├── ModelError                                                                   5
│   ├── ModelUnknown          no such name in the catalogue, no such path
│   ├── ModelFileMissing      not on this machine yet
│   ├── ModelFileCorrupt      not a GGUF, cut short, or not the expected hash
│   ├── ModelDownloadFailed   no source answered
│   └── ModelUnsupported      a GGUF the engine cannot run
└── EngineError                                                                  5
    ├── EngineUnavailable     no native library, or it does not load
    ├── EngineStopped         the engine was closed while a request was waiting
    ├── ContextTooLong        the file around the cursor alone does not fit
    └── RemoteFailed          the remote endpoint refused or did not answer
"""

from __future__ import annotations


class SteerwayError(Exception):
    """An error a person can act on: `message` says what is wrong, `hint` what to do next."""

    exit_code = 70

    def __init__(self, message: str, *, hint: str = "", subject: object = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.subject = subject

    def __str__(self) -> str:
        return f"{self.message}: {self.hint}" if self.hint else self.message


class UsageError(SteerwayError):
    exit_code = 2


class SettingsError(SteerwayError):
    exit_code = 2


class ModelError(SteerwayError):
    exit_code = 5


class ModelUnknown(ModelError): ...


class ModelFileMissing(ModelError): ...


class ModelFileCorrupt(ModelError): ...


class ModelDownloadFailed(ModelError): ...


class ModelUnsupported(ModelError): ...


class EngineError(SteerwayError):
    exit_code = 5


class EngineUnavailable(EngineError): ...


class EngineStopped(EngineError): ...


class ContextTooLong(EngineError): ...


class RemoteFailed(EngineError): ...
