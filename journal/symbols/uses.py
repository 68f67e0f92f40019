"""Where a symbol is used in the file that defines it, by the same analysis as `steerway edges`."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass

from journal.symbols.locate import locate


@dataclass(frozen=True)
class Uses:
    """Lines (from 1): where the symbol's name is bound, and where it is used, each line once.

    `reached` are lines that write the name behind a dot (`self.send`), for a member whose name nothing else
    in the file has: told by the name alone. With a `problem` there are none. What functions inside functions
    bind is not looked for.
    """

    definitions: tuple[int, ...] = ()
    uses: tuple[int, ...] = ()
    reached: tuple[int, ...] = ()
    problem: str = ""


def uses(text: str, language: str, path: str) -> Uses:
    """Where the symbol `path` (`Up.send`) of `text` is defined and used. Never raises."""
    from engine.usedef import LANGUAGES, analyse
    from engine.usedef.members import paths, reached

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
    used = {edge.use.start for edge in analysis.edges if bound.intersection(edge.definitions)}
    called = [(path, one) for path, one in paths(analysis) if path[-1] == name]
    member = len({path for path, _ in called}) == 1 and len(called[0][0]) > 1
    behind = {one.start for one in reached(analysis, name)} if member else set()
    defined = {one.start for one in bound} or {one.start for _, one in called if first <= one.start < last}
    return Uses(_lines(starts, defined), _lines(starts, used), _lines(starts, behind - used - defined))


def _lines(starts: list[int], places: Iterable[int]) -> tuple[int, ...]:
    return tuple(sorted({bisect_right(starts, place) for place in places}))
