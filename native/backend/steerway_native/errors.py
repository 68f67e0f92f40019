"""What can go wrong in a build, each one line that says what to do."""

from __future__ import annotations


class NativeError(Exception):
    """A build that cannot go on."""


class SourceUnavailable(NativeError):
    """The source distribution is not here and could not be fetched."""


class SourceMismatch(NativeError):
    """The source distribution is not the pinned one, or not a plain archive."""


class CompilerMissing(NativeError):
    """No C++ compiler, or no CUDA compiler for a CUDA build."""


class PatchFailed(NativeError):
    """A hunk does not fit the source, named by patch, number, file and line."""
