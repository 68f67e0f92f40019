"""Terminal escape sequences, sorted by what a view must do about them.

Colours pass. Moves within a line are resolved. Moves across lines and full screens need an emulator.
Everything else (window titles, clipboard writes, device queries, private strings) is dropped: what a cell
prints cannot reprogram the terminal it is shown in. Sequences as in ECMA-48 and xterm's ctlseqs.
"""

from __future__ import annotations

import re

SGR = re.compile(r"\x1b\[[0-9;:]*m")
# Any escape that is not a plain colour.
OTHER = re.compile(r"\x1b(?!\[[0-9;:]*m)")
ESCAPE = re.compile(
    r"\x1b(?:"
    r"\[(?P<args>[0-?]*)(?P<mid>[ -/]*)(?P<final>[@-~])"
    r"|(?P<string>[\]PX^_])(?P<body>[^\x07\x1b\n\x18\x1a]*)(?:\x07|\x1b\\|[\x18\x1a]|(?=\n)|(?=\x1b))"
    r"|(?P<charset>[ -/]+[0-~])"
    r"|(?P<short>[0-Z\\`-~])"
    r"|(?P<stray>)(?=[\x00-\x1f\x7f]|[^\x00-\x7f]|\[|$)"
    r")"
)
# An escape sequence that is not a plain colour, in full.
OTHER_ESCAPE = re.compile(r"(?!\x1b\[[0-9;:]*m)" + ESCAPE.pattern)
# An escape whose end has not come yet, at the end of a piece of output.
UNFINISHED = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|[ -/]*|[\]PX^_][^\x07\x1b\n\x18\x1a]*\x1b?)\Z")
# In a line: the escapes that the line editor understands, besides colours.
LINE_FINALS = frozenset("KGCDPX@`")
VERTICAL_FINALS = frozenset("ABEFHfdJrLMSTsu")
ALTERNATE = frozenset(("47", "1047", "1049"))

# Control bytes without a meaning here: all but BEL (ends strings), BS, TAB, LF, CR, ESC.
DROPPED_BYTES = bytes(b for b in (*range(0x20), 0x7F) if b not in (0x07, 0x08, 0x09, 0x0A, 0x0D, 0x1B))
C1 = re.compile("[\x80-\x9f]")


def is_alternate(match: re.Match[str]) -> bool:
    """Whether the escape enters or leaves the alternate screen."""
    args = match["args"] or ""
    return (
        match["final"] in ("h", "l")
        and args.startswith("?")
        and not ALTERNATE.isdisjoint(args[1:].split(";"))
    )


def needs_screen(match: re.Match[str]) -> bool:
    """Whether only an emulator can tell what the escape does to the text."""
    final = match["final"]
    if final is None:
        return match["short"] in ("7", "8", "D", "E", "M", "c")
    if match["mid"] or (match["args"] or "")[:1] in ("?", ">", "<", "="):
        return is_alternate(match)
    # Erasing below the cursor is common after a progress line, and means nothing on the last line.
    return final in VERTICAL_FINALS and not (final == "J" and (match["args"] or "0") == "0")


def keep_in_line(match: re.Match[str]) -> str:
    """The escape if a line editor resolves it, else nothing."""
    final = match["final"]
    if final is None or match["mid"] or (match["args"] or "")[:1] in ("?", ">", "<", "="):
        return ""
    if final == "m":
        return match[0]
    if final == "J":
        return "\x1b[K"
    return match[0] if final in LINE_FINALS else ""


def strip(text: str) -> str:
    """`text` without any escape."""
    return ESCAPE.sub("", text) if "\x1b" in text else text


def open_style(text: str, before: str = "") -> str:
    """The colours still on after `text`, as the escapes that turn them on ("" when none)."""
    style = before
    for found in SGR.findall(text):
        body = found[2:-1]
        if body.strip("0;") == "":
            style = ""
        elif body.startswith(("0;", ";")):
            style = "\x1b[" + body.split(";", 1)[1] + "m"
        else:
            style = (style + found)[-128:]
    return style
