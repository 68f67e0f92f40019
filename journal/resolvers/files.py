"""References to files of the workspace: whole, by lines, by symbol."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from engine import grammars
from engine.documents import DocumentKind
from engine.privacy.strings import without_secrets
from journal import symbols
from journal.resolvers import cache, examples, git, guard
from journal.resolvers.content import Content, ReferenceProblem, Scope

HISTORY_VERSIONS = 50
_contents: cache.Cache[Content] = cache.Cache(256)
_PROSE = {"", "markdown"}
_HEADER = re.compile(r"\s*(?:async\s+def|def|class)\b.*:\s*(?:#.*)?$")


def resolve(
    target: str, scope: Scope, *, kind: DocumentKind, lines: tuple[int, int] | None = None, symbol: str = ""
) -> Content:
    """The file, or the part of it that is asked for. Raises ReferenceProblem."""
    path, name = guard.find(target, scope)
    signature = cache.signature(path)
    key = (path, name, signature, scope.boundary, kind, lines, symbol)
    kept = _contents.get(key) if signature is not None else None
    if kept is not None:
        return kept
    content = _read(path, name, target, scope, kind, lines, symbol)
    return _contents.put(key, content) if signature is not None else content


def _read(
    path: Path,
    name: str,
    target: str,
    scope: Scope,
    kind: DocumentKind,
    lines: tuple[int, int] | None,
    symbol: str,
) -> Content:
    whole = guard.read(path, target)
    language = grammars.language_of(name, whole)
    exact, note = part(whole, language, name, lines=lines, symbol=symbol)
    above = _enclosing(whole, exact, language) if symbol else ""
    plain, secrets = without_secrets(exact, language)
    clean = above + plain
    if secrets:
        note = _join(note, f"{secrets} secret-looking value{'s' * (secrets > 1)} left out of {name}")
    if kind == "doc" and language in _PROSE:
        clean, runnable = examples.lead(clean)
        kind = "api" if runnable else kind

    def earlier(prefix: str) -> str | None:
        found = history(path, scope, prefix, lambda old: _try_part(old, language, name, lines, symbol))
        return None if found is None else without_secrets(found, language)[0]

    return Content(name, clean, exact, kind, language, note=note, plain=plain, earlier=earlier)


def history(path: Path, scope: Scope, prefix: str, cut: Callable[[str], str | None]) -> str | None:
    """The part of an earlier, committed text of `path` whose hash starts with `prefix`; None without one."""
    for data in git.versions(path, scope.boundary.resolve(), limit=HISTORY_VERSIONS):
        text = data.decode("utf-8", "replace").removeprefix("\ufeff").replace("\r\n", "\n")
        old = cut(text)
        if old is not None and hashed(old).startswith(prefix):
            return old
    return None


def part(
    whole: str, language: str, name: str, *, lines: tuple[int, int] | None, symbol: str
) -> tuple[str, str]:
    """The lines or the symbol of a text, and a note when it took a guess. Raises ReferenceProblem."""
    if symbol:
        where = symbols.locate(whole, language, symbol)
        if not where.first:
            raise ReferenceProblem(f"{name}: {where.problem}")
        return _cut(whole, where.first, where.last), f"{name}: {where.problem}" if where.problem else ""
    if lines is None:
        return whole, ""
    first, last = lines
    total = whole.count("\n") + (not whole.endswith("\n") and bool(whole))
    if first > total:
        raise ReferenceProblem(f"{name} has {total} lines, line {first} is past its end")
    note = f"{name} ends at line {total}, lines {first}-{last} were asked for" if total < last < END else ""
    return _cut(whole, first, min(last, total)), note


def parse_lines(value: object) -> tuple[int, int]:
    """`"10-80"`, `"10"`, `"10-"`, `"L10-L80"` or a number as first and last line. Raises ReferenceProblem."""
    text = str(value).strip() if isinstance(value, (str, int)) and not isinstance(value, bool) else ""
    match = re.fullmatch(r"L?([0-9]{1,9})(?:\s*(-|\.\.|:)\s*(?:L?([0-9]{1,9}))?)?", text)
    if match is None:
        raise ReferenceProblem(f'lines {value!r} cannot be read, write them as "10-80" or "10"')
    first = int(match[1])
    last = int(match[3]) if match[3] else END if match[2] else first
    if first < 1 or last < first:
        raise ReferenceProblem(f"lines {text} hold no line, they count from 1 and go up")
    return first, last


END = 10**9


def hashed(text: str) -> str:
    """The sha256 that pins a text, hex."""
    import hashlib

    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _cut(whole: str, first: int, last: int) -> str:
    """Lines `first` to `last` with the newlines they have."""
    lines = whole.split("\n")
    return "\n".join(lines[first - 1 : last]) + ("\n" if last < len(lines) else "")


def _try_part(whole: str, language: str, name: str, lines: tuple[int, int] | None, symbol: str) -> str | None:
    try:
        return part(whole, language, name, lines=lines, symbol=symbol)[0]
    except ReferenceProblem:
        return None


def _enclosing(whole: str, exact: str, language: str) -> str:
    """The `class` lines around an indented Python symbol: a method says little without its class."""
    margin = len(exact) - len(exact.lstrip(" \t"))
    if language != "python" or not margin:
        return ""
    above = whole[: whole.find(exact)].split("\n")
    headers: list[str] = []
    for line in reversed(above):
        indent = len(line) - len(line.lstrip())
        if line.strip() and indent < margin and _HEADER.match(line):
            headers.append(line.rstrip() + "\n")
            margin = indent
        if not margin:
            break
    return "".join(reversed(headers))


def _join(*notes: str) -> str:
    return "; ".join(note for note in notes if note)
