"""White space at the end of lines, which editors mark and formatters take off."""

from __future__ import annotations

import re

from engine.request import Request

_BEFORE_BREAK = re.compile(r"[ \t]+(?=\n)")


def trim(text: str, request: Request) -> str:
    """`text` without white space at the end of its lines, nor line breaks at its end.

    A blank before text that follows on the cursor's line is kept: it may separate the two.
    """
    head, newline, rest = text.partition("\n")
    clean = head + _BEFORE_BREAK.sub("", newline + rest) if newline else text
    clean = _BEFORE_BREAK.sub("", clean)
    follows = request.suffix.partition("\n")[0].strip()
    return clean.rstrip("\n") if follows and "\n" not in text.strip("\n") else clean.rstrip()
