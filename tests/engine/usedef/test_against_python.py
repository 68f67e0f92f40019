"""Python's edges against what Python (`symtable`) and jedi say, on files nobody wrote for this."""

from __future__ import annotations

import random
import sysconfig
from bisect import bisect_right
from pathlib import Path

import pytest

from engine.usedef import analyse
from tests.engine.usedef.oracles import Place, by_jedi, by_symtable

_NAMES = [
    "bisect", "calendar", "cmd", "code", "configparser", "contextlib", "copy", "csv",
    "dataclasses", "difflib", "filecmp", "fileinput", "fractions", "functools", "getopt",
    "gettext", "glob", "graphlib", "gzip", "heapq", "inspect", "linecache",
    "mimetypes", "netrc", "platform", "plistlib", "pprint", "queue",
    "random", "reprlib", "sched", "selectors", "shelve", "shlex", "shutil",
    "string", "tempfile", "textwrap", "timeit", "tokenize",
    "trace", "types", "wave", "weakref",
]  # fmt: skip
_SMALL = [
    "bisect", "cmd", "copy", "csv", "filecmp", "fnmatch", "getopt", "glob", "graphlib", "linecache",
    "queue", "reprlib", "sched", "shlex",
]  # fmt: skip


def files(names: list[str]) -> list[str]:
    """The texts of those of these modules that this Python has as one file."""
    library = Path(sysconfig.get_path("stdlib"))
    return [path.read_text("utf-8") for name in names if (path := library / f"{name}.py").is_file()]


def edges(source: str) -> dict[Place, set[Place]]:
    """Ours, by line and column."""
    starts = [0, *(index + 1 for index, character in enumerate(source) if character == "\n")]

    def place(offset: int) -> Place:
        line = bisect_right(starts, offset)
        return line, offset - starts[line - 1]

    found = analyse(source, "python").edges
    return {place(edge.use.start): {place(name.start) for name in edge.definitions} for edge in found}


def test_definitions_are_in_the_scope_that_symtable_names() -> None:
    """Precision over definitions, recall over names that have one in their file."""
    texts = files(_NAMES)
    right = said = reached = wanted = 0
    for source in texts:
        ours, truth = edges(source), by_symtable(source).uses
        said += sum(map(len, ours.values()))
        right += sum(len(definitions & truth.get(use, set())) for use, definitions in ours.items())
        wanted += len(truth)
        reached += sum(bool(ours.get(use, set()) & definitions) for use, definitions in truth.items())

    print(f"{len(texts)} files, {wanted} uses: precision {right / said:.4f}, recall {reached / wanted:.4f}")
    assert len(texts) >= 40
    assert right / said >= 0.95
    assert reached / wanted >= 0.9


def compared_with_jedi(names: list[str], uses: int) -> tuple[int, float, float]:
    """How many uses, precision and recall of definitions, on up to `uses` uses a file.

    jedi reads a text once from the top: what a loop brings round, from the use's own line or behind it, it
    has no opinion on, and is not counted. Nor are uses for which it names what binds nothing (`d[key] = x`,
    `x += 1` for that x itself).
    """
    random_ = random.Random(1)
    right = said = wanted = asked = 0
    for source in files(names):
        ours = edges(source)
        truth = by_symtable(source).uses
        asked_here = random_.sample(sorted(truth), min(uses, len(truth)))
        for use, theirs in by_jedi(source, asked_here).items():
            if not theirs or use in theirs or not theirs <= truth[use]:
                continue
            mine = {place for place in ours.get(use, set()) if place[0] < use[0] or place in theirs}
            asked += 1
            right += len(mine & theirs)
            said += len(mine)
            wanted += len(theirs)
    return asked, right / said, right / wanted


def test_definitions_are_where_jedi_goes() -> None:
    asked, precision, recall = compared_with_jedi(_SMALL, 12)
    assert asked >= 100
    assert precision >= 0.95
    assert recall >= 0.9


@pytest.mark.slow
def test_definitions_are_where_jedi_goes_in_many_files() -> None:
    asked, precision, recall = compared_with_jedi(_NAMES, 25)
    print(f"{asked} uses: precision {precision:.4f}, recall {recall:.4f}")
    assert asked >= 1000
    assert precision >= 0.95
    assert recall >= 0.9
