"""Text a person edited, put back over the bytes it was shown from: lines left alone keep their bytes."""

from __future__ import annotations

import re

_NEWLINE = re.compile(rb"\r\n?|\n")
_LINE = re.compile(rb"([^\r\n]*+)(\r\n?|\n|\Z)")
_NOT_TEXT = re.compile("[\udc80-\udcff]")
_REPLACED = re.compile("[\udc80-\udcff\ufffd]")


def newline_of(span: bytes, file: bytes = b"") -> bytes:
    """The newline `span` uses first, else the one `file` does, else a line feed."""
    match = _NEWLINE.search(span) or _NEWLINE.search(file)
    return match[0] if match else b"\n"


def decoded(raw: bytes) -> str:
    """`raw` for a person: a line feed for every newline, U+FFFD for every byte that is not UTF-8."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = _NOT_TEXT.sub("\ufffd", raw.decode("utf-8", "surrogateescape"))
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def encoded(text: str) -> bytes:
    """`text` as UTF-8; what no file can hold (half of a surrogate pair) becomes a question mark."""
    return text.encode("utf-8", "replace")


def replace_lines(old: bytes, text: str, newline: bytes, *, indent: int = 0, close: bool = False) -> bytes:
    """`text` as bytes; a line that `old` has too as it stands there, and the last one ended as in `old`.

    `close` ends the last line in any case. `indent` is how many spaces at most a line of `old` loses before
    it is shown, and a new line gains.
    """
    before = [(match[1], match[2]) for match in _LINE.finditer(old)]
    if len(before) > 1 and before[-1] == (b"", b""):
        before.pop()
    shown = [_unindented(decoded(line), indent) for line, _ in before]
    wanted = text.split("\n")
    head = _common(shown, wanted)
    tail = _common(shown[head:][::-1], wanted[head:][::-1])
    middle = _restored(before[head : len(before) - tail], wanted[head : len(wanted) - tail], indent)
    lines = [*before[:head], *((line, newline) for line in middle), *before[len(before) - tail :]]
    last_end = before[-1][1] or (newline if close else b"")
    ended = [line + (end or newline) for line, end in lines[:-1]]
    return b"".join([*ended, lines[-1][0] + last_end])


def _unindented(line: str, indent: int) -> str:
    return line[min(indent, len(line) - len(line.lstrip(" "))) :] if indent else line


def _common(left: list[str], right: list[str]) -> int:
    """How many items from the start on are equal."""
    count = 0
    for one, other in zip(left, right, strict=False):
        if one != other:
            break
        count += 1
    return count


def _restored(old: list[tuple[bytes, bytes]], wanted: list[str], indent: int) -> list[bytes]:
    """Lines that changed; bytes that were shown as U+FFFD come back where they can be told apart."""
    margin = b" " * indent
    hidden = [character for line, _ in old for character in _REPLACED.findall(_escaped(line))]
    places = sum(line.count("\ufffd") for line in wanted)
    if not hidden or places != len(hidden):
        known = {_unindented(decoded(line), indent): line for line, _ in old}
        return [
            known[line] if "\ufffd" in line and line in known else (margin if line else b"") + encoded(line)
            for line in wanted
        ]
    supply = iter(hidden)
    lines = []
    for line in wanted:
        restored = re.sub("\ufffd", lambda _: next(supply), line).encode("utf-8", "surrogateescape")
        # Bytes that come to stand next to each other may be a character now.
        lines.append((margin if line else b"") + (restored if decoded(restored) == line else encoded(line)))
    return lines


def _escaped(line: bytes) -> str:
    return line.decode("utf-8", "surrogateescape")
