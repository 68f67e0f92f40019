"""The filters in order: each returns the text, a shorter text, or None to say nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from engine.request import Request
from engine.suggest.filters import blank, bracket, dedent, echo, masked, repeated, suffix, trailing, unbound

Filter = Callable[[str, Request], str | None]

FILTERS: dict[str, Filter] = {
    "masked": masked.trim,
    "suffix": suffix.trim,
    "bracket": bracket.trim,
    "repeated": repeated.trim,
    "echo": echo.drop,
    "dedent": dedent.drop,
    "unbound": unbound.drop,
    "trailing": trailing.trim,
    "blank": blank.drop,
}


@dataclass(frozen=True)
class Finished:
    """The text to show and the names of the filters that changed it; `""` when the last of them ended it."""

    text: str
    filters: tuple[str, ...] = ()


def finish(text: str, request: Request) -> str:
    """`text` through every filter; `""` when nothing is worth saying."""
    return judge(text, request).text


def judge(text: str, request: Request) -> Finished:
    """As `finish`, and which filters had something to say (for "why no suggestion?")."""
    changed: list[str] = []
    for name, apply in FILTERS.items():
        after = apply(text, request)
        if after != text:
            changed.append(name)
        if not after:
            return Finished("", tuple(changed))
        text = after
    return Finished(text, tuple(changed))
