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

    Lines are taken, and encoded, in chunks that begin at a multiple of STEP_LINES: typing encodes the
    cursor's chunk only, and a cut moves by whole chunks. A chunk that does not fit gives its last lines only
    when less than half of `limit` would be used otherwise.
    """
    chunks = _chunks(prefix, limit * _LONGEST_TOKEN_CHARACTERS)
    kept: list[list[int]] = []
    used = characters = lines = 0
    for chunk in reversed(chunks):
        part, tokens = chunk, encode("".join(chunk))
        if used + len(tokens) > limit:
            part, tokens = _last_lines(chunk, limit - used, encode) if 2 * used < limit else ([], [])
        kept.append(tokens)
        used += len(tokens)
        lines += len(part)
        characters += sum(map(len, part))
        if len(part) < len(chunk):
            break
    if not lines and limit > 0:
        line = prefix.rpartition("\n")[2]
        tokens = encode(line[-limit * _LONGEST_TOKEN_CHARACTERS :])[-limit:]
        return Window(tuple(tokens), prefix.count("\n"), len(prefix) - len(line))
    tokens = [token for part in reversed(kept) for token in part]
    return Window(tuple(tokens), prefix.count("\n") + 1 - lines, len(prefix) - characters)


def _chunks(prefix: str, characters: int) -> list[list[str]]:
    """Whole lines of the last `characters`, in chunks of STEP_LINES counted from the file's start."""
    near = prefix[max(0, len(prefix) - max(0, characters)) :]
    lines = _lines(near)
    if not lines or lines[-1].endswith("\n"):
        lines.append("")
    first = prefix.count("\n") + 1 - len(lines)
    if len(near) < len(prefix) and prefix[-len(near) - 1 : -len(near)] != "\n":
        del lines[0]
        first += 1
    chunks: list[list[str]] = []
    for index, line in enumerate(lines, start=first):
        if index % STEP_LINES == 0 or not chunks:
            chunks.append([])
        chunks[-1].append(line)
    return chunks


def _last_lines(lines: list[str], limit: int, encode: Encode) -> tuple[list[str], list[int]]:
    """The last of `lines` that fit into `limit` tokens, and their tokens."""
    for start in range(len(lines) - _fitting(lines[::-1], limit, encode), len(lines)):
        tokens = encode("".join(lines[start:]))
        if len(tokens) <= limit:
            return lines[start:], tokens
    return [], []


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


def _stepped(start: int, lines: int) -> int:
    """`start` rounded up to a multiple of STEP_LINES, unless that would leave less than one line."""
    stepped = -(-start // STEP_LINES) * STEP_LINES
    return stepped if stepped < lines else min(start, lines)
