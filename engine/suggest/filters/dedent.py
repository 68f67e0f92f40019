"""A Python suggestion that leaves the block while the block goes on below the cursor."""

from __future__ import annotations

import re

from engine.decode.suffix import Following
from engine.request import Request

_CLAUSE = re.compile(r"\s*(?:else|elif|except|finally|case)\b")


def drop(text: str, request: Request) -> str | None:
    """None when `text` begins on a line of its own, less indented than the line that follows it.

    What follows would be an unexpected indent, or become part of something else; a clause (`else:`) may
    take it over. Inside brackets and strings indentation means nothing.
    """
    following = Following.of(request)
    if following.language != "python" or following.brackets.depth or not following.brackets.code:
        return text
    line = next((row for row in text.split("\n")[1:] if row.strip()), "")
    alone = not (following.before + text.partition("\n")[0]).strip() and bool(line)
    if not alone or _CLAUSE.match(line):
        return text
    return None if _indent(line) < min(_indent(following.before), _indent(following.next)) else text


def _indent(line: str) -> int:
    row = line.expandtabs(8)
    return len(row) - len(row.lstrip())
