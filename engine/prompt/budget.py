"""Who gets how many tokens: the lines around the cursor first, then documents, the most relevant first.

Every boundary moves in steps, so that typing a character does not shift a cut and with it everything
that was computed behind it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

Encode = Callable[[str], list[int]]

FILE_SHARE = 0.5
SUFFIX_SHARE = 0.25
MINIMUM_LINE_TOKENS = 32
MINIMUM_DOCUMENT_TOKENS = 24
STEP_TOKENS = 128
STEP_LINES = 16
_LONGEST_TOKEN_CHARACTERS = 16
_LINE = re.compile(r"[^\n]*\n|[^\n]+")


@dataclass(frozen=True)
class Share:
    """Tokens for the edited file around the cursor, and for documents."""

    file: int
    documents: int


@dataclass(frozen=True)
class Window:
    """Part of a text: its tokens, and how many lines and characters of the text were left out."""

    tokens: tuple[int, ...]
    cut_lines: int = 0
    cut_characters: int = 0


@dataclass(frozen=True)
class Around:
    """The edited file on both sides of the cursor."""

    prefix: Window
    suffix: Window

    @property
    def tokens(self) -> int:
        """Tokens of both sides."""
        return len(self.prefix.tokens) + len(self.suffix.tokens)


def around(prefix: str, suffix: str, limit: int, encode: Encode) -> Around:
    """The lines nearest the cursor that fit into `limit` tokens.

    The suffix may take a quarter (SUFFIX_SHARE), and what the prefix leaves, but not the cursor's line.
    """
    first = before(prefix, limit, encode)
    spare = limit - min(len(first.tokens), MINIMUM_LINE_TOKENS)
    quarter = min(int(limit * SUFFIX_SHARE), spare)
    second = after(suffix, max(limit - len(first.tokens), quarter), encode)
    if len(first.tokens) + len(second.tokens) > limit:
        first = before(prefix, limit - len(second.tokens), encode)
    return Around(first, second)


def share(*, total: int, file: int, documents: int, minimum: int = 0) -> Share:
    """Split `total` tokens between a file that wants `file` and documents that want `documents`.

    When both do not fit, the file gets what documents leave but never less than half (FILE_SHARE)
    nor than `minimum`. What the file takes is counted in steps of STEP_TOKENS.
    """
    stepped = min(-(-file // STEP_TOKENS) * STEP_TOKENS, total)
    limit = max(total - documents, int(total * FILE_SHARE), min(minimum, total))
    taken = min(stepped, limit) if file + documents > total else min(file, limit)
    return Share(file=taken, documents=min(documents, total - taken))


def allot(wanted: Sequence[int], budget: int) -> list[int]:
    """Tokens for each document (most relevant last) out of `budget`: the last is served first.

    One that would get less than MINIMUM_DOCUMENT_TOKENS, and not all of itself, gets none.
    """
    given = [0] * len(wanted)
    for index in range(len(wanted) - 1, -1, -1):
        part = min(wanted[index], budget)
        if part < wanted[index] and part < MINIMUM_DOCUMENT_TOKENS:
            break
        given[index] = part
        budget -= part
        if part < wanted[index]:
            break
    return given


def head(text: str, limit: int, encode: Encode) -> Window:
    """The first whole lines of `text` that fit into `limit` tokens."""
    tokens = encode(text)
    if len(tokens) <= limit:
        return Window(tuple(tokens))
    lines = _lines(text)
    return _fit(lines, _fitting(lines, limit, encode), limit, encode)


def before(prefix: str, limit: int, encode: Encode) -> Window:
    """The last lines of `prefix` that fit into `limit` tokens; the cursor's line is cut only when alone.

    Cut lines are a multiple of STEP_LINES where that leaves the cursor's line whole.
    """
    near = prefix[-limit * _LONGEST_TOKEN_CHARACTERS :] if limit > 0 else ""
    tokens = encode(near) if len(near) == len(prefix) else []
    if len(near) == len(prefix) and len(tokens) <= limit:
        return Window(tuple(tokens))
    every = _lines(prefix) or [""]
    if every[-1].endswith("\n"):
        every.append("")
    count = _fitting(_backwards(near), limit, encode)
    start = _stepped(len(every) - count, len(every))
    while start < len(every) - 1:
        tokens = encode("".join(every[start:]))
        if len(tokens) <= limit:
            return Window(tuple(tokens), start, sum(map(len, every[:start])))
        start += 1
    tokens = encode(every[-1])[-limit:] if limit > 0 else []
    return Window(tuple(tokens), len(every) - 1, sum(map(len, every[:-1])))


def after(suffix: str, limit: int, encode: Encode) -> Window:
    """The first lines of `suffix` that fit into `limit` tokens; the first is cut only when alone."""
    near = suffix[: limit * _LONGEST_TOKEN_CHARACTERS] if limit > 0 else ""
    tokens = encode(near) if len(near) == len(suffix) else []
    if len(near) == len(suffix) and len(tokens) <= limit:
        return Window(tuple(tokens))
    lines = _lines(suffix) or [""]
    count = _fitting(_lines(near), limit, encode)
    count = len(lines) - _stepped(len(lines) - count, len(lines))
    if count:
        return _fit(lines, count, limit, encode)
    tokens = encode(lines[0])[: max(0, limit)]
    return Window(tuple(tokens), len(lines) - 1, sum(map(len, lines[1:])))


def _fit(lines: list[str], count: int, limit: int, encode: Encode) -> Window:
    """The first `count` lines, fewer if they take more than `limit` tokens together."""
    while count:
        tokens = encode("".join(lines[:count]))
        if len(tokens) <= limit:
            return Window(tuple(tokens), len(lines) - count, sum(map(len, lines[count:])))
        count -= 1
    return Window((), len(lines), sum(map(len, lines)))


def _fitting(lines: Iterable[str], limit: int, encode: Encode) -> int:
    """How many of `lines`, from the first, fit when each is counted alone."""
    count = 0
    for line in lines:
        limit -= len(encode(line))
        if limit < 0:
            break
        count += 1
    return count


def _lines(text: str) -> list[str]:
    return _LINE.findall(text)


def _backwards(text: str) -> list[str]:
    lines = _lines(text)
    if not lines or lines[-1].endswith("\n"):
        lines.append("")
    return lines[::-1]


def _stepped(start: int, lines: int) -> int:
    """`start` rounded up to a multiple of STEP_LINES, unless that would leave less than one line."""
    stepped = -(-start // STEP_LINES) * STEP_LINES
    return stepped if stepped < lines else min(start, lines)
