r"""Private keys in PEM and PGP form, line by line.

    BEGIN line      kept up to its mark, then the mask
    base64 lines    dropped
    END line        what follows its mark is kept, on the same line as the mask

A program that names the marks (`if "-----BEGIN PRIVATE KEY-----" in text:`) has no key lines below it and
stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

MASK = "[redacted]"

_NAME = r"(?:[A-Z0-9]{1,12} ){0,4}PRIVATE KEY(?: BLOCK)?"
_BEGIN = re.compile(rf"-----BEGIN {_NAME}-----")
_END = re.compile(rf"-----END {_NAME}-----")
_KEY_LINE_CHARACTERS = 40
_ENDS_LINE = re.compile(r"""(?:\\[nr]|["'\s,;+\\)])*""")
_IN_LINE = re.compile(r"""(?:\\[nr]|[A-Za-z0-9+/=\s"',])*""")
_BODY = re.compile(
    r"""[\s"'+>|#*/]*[A-Za-z0-9+/=]*(?:\\[nr])*["'\s,;+\\]*|(?:Proc-Type|DEK-Info|Version|Comment|Hash): .*"""
)


def mask_keys(text: str) -> str:
    """`text` without the keys in it; one that is cut off at the end of `text` goes as far as there is."""
    if "PRIVATE KEY" not in text:
        return text
    return "\n".join(_masked(text.split("\n")))


def around_key(above: str, line: str, below: str) -> str | None:
    """What follows the key that the cursor is in, None when it is in none.

    `above` are the lines over the cursor's, `line` its beginning, `below` everything after the cursor.
    """
    body = _open_body(above) if "PRIVATE KEY" in above else None
    if body is None or not _BODY.fullmatch(line):
        return None
    lines = below.split("\n")
    count, after = _body(lines)
    if after is not None:
        return "\n".join([after, *lines[count:]])
    return "\n".join(lines[count:]) if _is_material([*body, *lines[:count]]) else None


def skip_key(text: str) -> tuple[str, bool]:
    """What follows the key that `text` starts inside of, and whether the key goes on beyond `text`."""
    lines = text.split("\n")
    count, after = _body(lines)
    if after is not None:
        return "\n".join([after, *lines[count:]]), False
    return "\n".join(lines[count:]), count == len(lines)


def open_key(text: str) -> int | None:
    """Where the mark ends of a key that begins in `text` and goes on beyond it, None without one."""
    begins = list(_BEGIN.finditer(text)) if "PRIVATE KEY" in text else []
    return begins[-1].end() if begins and _open_body(text) is not None else None


def _open_body(text: str) -> list[str] | None:
    """The lines so far of a key that `text` ends inside of, None when it does not."""
    begins = list(_BEGIN.finditer(text))
    if not begins:
        return None
    first, *lines = text[begins[-1].end() :].split("\n")
    return lines if _ENDS_LINE.fullmatch(first) and all(map(_BODY.fullmatch, lines)) else None


def _is_material(lines: list[str]) -> bool:
    """Whether lines without an END mark are a key: those are 64 characters long, programs have blanks."""
    return any(len(line.strip()) >= _KEY_LINE_CHARACTERS for line in lines)


def _masked(lines: list[str]) -> Iterator[str]:
    index = 0
    while index < len(lines):
        line = _within(lines[index])
        index += 1
        begin = _BEGIN.search(line)
        rest = line[begin.end() :] if begin else ""
        if begin is None or not _ENDS_LINE.fullmatch(rest):
            yield line
            continue
        count, after = _body(lines, index)
        hidden = after is not None or _is_material(lines[index : index + count])
        index += count if hidden else 0
        yield f"{line[: begin.end()]} {MASK}{rest if after is None else after}" if hidden else line


def _body(lines: list[str], start: int = 0) -> tuple[int, str | None]:
    """How many of `lines` from `start` belong to a key, and what follows its END mark (None: no mark)."""
    for index in range(start, len(lines)):
        if end := _END.search(lines[index]):
            return index + 1 - start, lines[index][end.end() :]
        if not _BODY.fullmatch(lines[index]):
            return index - start, None
    return len(lines) - start, None


def _within(line: str) -> str:
    r"""`line` without keys that stand in it whole, or begin there: `"-----BEGIN ...-----\nMIIE..."`."""
    done, kept = 0, ""
    while begin := _BEGIN.search(line, done):
        end = _END.search(line, begin.end())
        stop = end.start() if end else len(line)
        body = line[begin.end() : stop]
        hidden = _IN_LINE.fullmatch(body) and (end or not _ENDS_LINE.fullmatch(body))
        kept += line[done : begin.end()] + (f" {MASK}" if hidden else body)
        done = end.end() if end and hidden else stop
    return kept + line[done:]
