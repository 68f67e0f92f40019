"""Where a symbol is used in the file that defines it, by the same analysis as `steerway edges`."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

from journal.symbols.locate import locate


@dataclass(frozen=True)
class Uses:
    """Lines (from 1): where the symbol's name is bound, and where it is used, each line once.

    With a `problem` there are none. What is reached through a value (`self.send`) is no use of a name, and
    functions inside functions are not looked into.
    """

    definitions: tuple[int, ...] = ()
    uses: tuple[int, ...] = ()
    problem: str = ""


def uses(text: str, language: str, path: str) -> Uses:
    """Where the symbol `path` (`Up.send`) of `text` is defined and used. Never raises."""
    from engine.usedef import LANGUAGES, analyse

    if language not in LANGUAGES:
        return Uses(problem=f"uses are not known for {language or 'this kind of file'}")
    where = locate(text, language, path)
    if not where.first:
        return Uses(problem=where.problem)
    starts = [0, *(index + 1 for index, character in enumerate(text) if character == "\n")]
    first, last = starts[where.first - 1], ([*starts, len(text) + 1])[where.last]
    name = path.replace("::", ".").replace("#", ".").replace("()", "").strip(". ").rpartition(".")[2]
    analysis = analyse(text, language)
    bound = {one for one in analysis.declared if one.text == name and first <= one.start < last}
    used = [edge.use.start for edge in analysis.edges if bound.intersection(edge.definitions)]
    return Uses(_lines(starts, [one.start for one in bound]), _lines(starts, used))


def _lines(starts: list[int], places: list[int]) -> tuple[int, ...]:
    return tuple(sorted({bisect_right(starts, place) for place in places}))
