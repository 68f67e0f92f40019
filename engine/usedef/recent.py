"""The files that were looked at last, so that the next look costs what changed in between."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

from engine.usedef.analysis import Analysis
from engine.usedef.document import Document

KEPT_FILES = 4
# A file that the parser did not come back from is left alone until so many others were asked for.
_KEPT_SLOW = 64


class Recent:
    """Documents by path. Safe between threads: one at a time looks at a file."""

    def __init__(self, kept: int = KEPT_FILES) -> None:
        self._kept = kept
        self._documents: OrderedDict[tuple[str, str], Document] = OrderedDict()
        self._slow: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._lock = threading.Lock()

    @contextmanager
    def analysis(self, path: str, language: str, source: str) -> Iterator[Analysis | None]:
        """The analysis of `source`, the text of the file at `path` now; None where it takes too long.

        From an earlier text of the same path it takes what did not change. Raises UsageError for a language
        that scope analysis does not know.
        """
        key = path, language
        with self._lock:
            yield None if key in self._slow else self._of(key, source)

    def _of(self, key: tuple[str, str], source: str) -> Analysis | None:
        document = self._documents.pop(key, None)
        if document is None:
            document = Document(source, key[1])
        elif document.source != source:
            document.edit(*change(document.source, source))
        if not document.analysis.parsed:
            self._slow[key] = None
            while len(self._slow) > _KEPT_SLOW:
                self._slow.popitem(last=False)
            return None
        self._documents[key] = document
        while len(self._documents) > self._kept:
            self._documents.popitem(last=False)
        return document.analysis


def change(before: str, after: str) -> tuple[int, int, str]:
    """The one edit that makes `after` of `before`: characters start to end become a text."""
    start = _common(before, after)
    most = min(len(before), len(after)) - start
    end = _common(before[::-1][:most], after[::-1][:most])
    return start, len(before) - end, after[start : len(after) - end]


def _common(one: str, other: str) -> int:
    """How many characters both begin with, by halving: slices are compared as a whole."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
