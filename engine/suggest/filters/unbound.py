"""A Python suggestion that reads a name which nothing binds: measured, it is wrong (docs/prompting.md)."""

from __future__ import annotations

import builtins
import re
import sys
from functools import cache
from pathlib import PurePath
from typing import TYPE_CHECKING

from engine import grammars
from engine.request import Request

if TYPE_CHECKING:
    from engine.usedef import Analysis, Name
    from engine.usedef.recent import Recent

# Sessions and cells have names from elsewhere; so may a file that is only begun.
_FILES = frozenset({".py", ".pyi", ".pyw"})
LEAST_CHARACTERS = 4096
MOST_CHARACTERS = 400_000
_KNOWN = frozenset(dir(builtins)) | sys.stdlib_module_names
_OF_MODULES = frozenset({
    "__annotations__", "__builtins__", "__cached__", "__class__", "__dict__", "__file__", "__module__",
    "__path__", "__qualname__",
})  # fmt: skip
_FROM_ELSEWHERE = re.compile(r"^\s*from\s.+\simport\s+\*|\bexec\s*\(|\b(?:globals|vars)\s*\(\s*\)", re.M)


@cache
def _recent() -> Recent:
    from engine.usedef.recent import Recent

    return Recent()


def drop(text: str, request: Request) -> str | None:
    """None when `text` reads a name that is bound nowhere it can be seen from.

    Left alone are builtins and the standard library's modules (an import is easily added), names that the
    request's documents write, and those that the file itself reads elsewhere without binding them.
    """
    size = len(request.prefix) + len(request.suffix)
    if not LEAST_CHARACTERS <= size <= MOST_CHARACTERS or PurePath(request.path).suffix not in _FILES:
        return text
    if (request.language or grammars.language_of(request.path)) != "python":
        return text
    source = request.prefix + text + request.suffix
    with _recent().analysis(request.path, "python", source) as found:
        strange = _strangers(found, len(request.prefix), len(text)) if found is not None else []
        if not strange or found is None or _excused(found, strange, request):
            return text
    return None


def _strangers(found: Analysis, cursor: int, size: int) -> list[Name]:
    """Unbound names that the suggestion, `size` characters behind `cursor`, writes or ends."""
    if found.damaged_at(cursor):
        return []
    line = found.source.rfind("\n", 0, cursor) + 1
    unbound = found.unbound_between(line, cursor + size)
    known = _KNOWN | _OF_MODULES
    strange = [name for name in unbound if name.end > cursor and name.text not in known]
    if strange and strange[-1].end == cursor + size:  # it may be cut off, or only begun
        begun = strange[-1].text
        if any(one.text.startswith(begun) for one in found.names_at(cursor)):
            strange.pop()
    return strange


def _excused(found: Analysis, strange: list[Name], request: Request) -> bool:
    """Whether all of the names are known from elsewhere."""
    texts = {name.text for name in strange}
    for document in request.documents:
        texts -= {text for text in texts if re.search(rf"\b{re.escape(text)}\b", document.text)}
    if not texts or _FROM_ELSEWHERE.search(found.source):
        return True
    elsewhere = {name for name in found.unbound_between(0, len(found.source)) if name not in strange}
    return texts <= {name.text for name in elsewhere}
