"""From a symbol path to its lines, or to a line that says what is near."""

from __future__ import annotations

import difflib
import itertools
import re
from dataclasses import dataclass

from journal.symbols.outline import Outline, Symbol, outline

_NEAR = 3
_DAMAGED = "the file does not parse here"
_KEYWORDS = "def|class|function|func|fn|struct|enum|trait|interface|impl|type|mod|namespace"


@dataclass(frozen=True)
class Located:
    """Lines `first` to `last` (from 1, both included), or 0 and 0 with the `problem`.

    A `problem` beside real lines says that a guess was needed.
    """

    first: int = 0
    last: int = 0
    problem: str = ""


def locate(text: str, language: str, wanted: str) -> Located:
    """Where `wanted` (`Up.send`, `Up::send`, a heading) is in `text`. Never raises.

    The whole path is looked for first, then a unique path that ends in it.
    """
    found = outline(text, language)
    if found is None:
        return Located(
            problem=f"no grammar for {language or 'this kind of file'}, use lines instead of a symbol"
        )
    key = _key(wanted, language)
    if not key:
        return Located(problem="the symbol is empty")
    return _pick(found, key, wanted, text, language)


def _pick(found: Outline, key: str, wanted: str, text: str, language: str) -> Located:
    keyed = [(_key(symbol.path, language), symbol) for symbol in found.symbols]
    exact = [symbol for name, symbol in keyed if name == key]
    matches = exact or [symbol for name, symbol in keyed if name.endswith("." + key)]
    lines = text.split("\n")
    if matches:
        return _one(matches, wanted, lines)
    tail = key.rpartition(".")[2]
    loose = [symbol for name, symbol in keyed if name.rpartition(".")[2] == tail]
    if found.damaged and len(loose) == 1:
        return Located(loose[0].first, loose[0].last, f"{_DAMAGED}, took {loose[0].path} for {wanted}")
    if found.damaged and not loose:
        first, last = _by_indent(tail, lines)
        if first:
            return Located(first, last, f"{_DAMAGED}, took {wanted} by its indentation")
    return Located(problem=f"no symbol {wanted}{_near(key, keyed)}")


def _by_indent(name: str, lines: list[str]) -> tuple[int, int]:
    """The block that a line declaring `name` opens, where no syntax tree could be made of it."""
    opens = re.compile(rf"(\s*)(?:[\w<>]+\s+)*(?:{_KEYWORDS})\s+{re.escape(name)}\b")
    starts = [(row, match) for row, line in enumerate(lines) if (match := opens.match(line))]
    if len(starts) != 1:
        return 0, 0
    row, match = starts[0]
    last = row
    for later in range(row + 1, len(lines)):
        line = lines[later]
        closing = line.lstrip()[:1] in {"}", ")", "]"} and line.startswith(match[1])
        if line.strip() and not closing and len(line) - len(line.lstrip()) <= len(match[1]):
            break
        last = later if line.strip() else last
    return row + 1, last + 1


def _one(matches: list[Symbol], wanted: str, lines: list[str]) -> Located:
    matches = (
        [symbol for symbol in matches if symbol.whole] or matches if not _joined(matches, lines) else matches
    )
    if len(matches) == 1 or _joined(matches, lines):
        return Located(matches[0].first, matches[-1].last)
    places = ", ".join(f"{symbol.path} (line {symbol.first})" for symbol in matches[: _NEAR + 1])
    more = f" and {len(matches) - _NEAR - 1} more" if len(matches) > _NEAR + 1 else ""
    return Located(problem=f"{wanted} is ambiguous: {places}{more}; write the whole path, or lines")


def _joined(matches: list[Symbol], lines: list[str]) -> bool:
    """Whether neighbours of one path are one symbol: overloads, a property and its setter."""
    pairs = list(itertools.pairwise(matches))
    return bool(pairs) and all(
        later.path == earlier.path
        and (later.joins or earlier.joins)
        and not any(line.strip() for line in lines[earlier.last : later.first - 1])
        for earlier, later in pairs
    )


def _near(key: str, keyed: list[tuple[str, Symbol]]) -> str:
    names = list(dict.fromkeys(name for name, _ in keyed))
    tails: dict[str, list[str]] = {}
    for name in names:
        tails.setdefault(name.rpartition(".")[2], []).append(name)
    near = difflib.get_close_matches(key, names, n=_NEAR, cutoff=0.5)
    for tail in difflib.get_close_matches(key.rpartition(".")[2], tails, n=_NEAR, cutoff=0.7):
        near += tails[tail]
    shown = {name: symbol.path for name, symbol in reversed(keyed)}
    listed = [shown[name] for name in dict.fromkeys(near)][:_NEAR]
    if listed:
        return ", near it: " + ", ".join(listed)
    top = [symbol.path for name, symbol in keyed if "." not in name][:_NEAR]
    return ", the file has: " + ", ".join(top) if top else ", the file has no symbols"


def _key(path: str, language: str) -> str:
    path = path.strip()
    if language == "markdown":
        path = re.sub(r"\s*(?:>|/)\s*", ".", path.lstrip("# "))
        return re.sub(r"[\s_-]+", " ", re.sub(r"[*`]", "", path)).casefold().strip()
    return path.replace("::", ".").replace("#", ".").replace("()", "").strip(".")
