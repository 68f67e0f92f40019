"""Holes in the Python packages installed beside this one."""

from __future__ import annotations

import random
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from engine.usedef import analyse

_LONGEST_FILE = 120_000
_SHORTEST_LINE = 20


@dataclass(frozen=True)
class Place:
    """A hole: `before` + `answer` + `after` is the file."""

    name: str
    before: str
    answer: str
    after: str


def places(count: int, *, seed: int, shortest: int) -> Iterator[Place]:
    """`count` holes in installed packages, each in another file of at least `shortest` characters."""
    draw = random.Random(seed)
    site = Path(sysconfig.get_path("purelib"))
    packages = sorted(path.parent for path in site.glob("*/__init__.py") if path.parent.name[0] != "_")
    seen: set[Path] = set()
    found = 0
    for _ in range(200 * count):
        files = sorted(draw.choice(packages).rglob("*.py"))
        path = draw.choice(files)
        if path in seen or not shortest <= path.stat().st_size <= _LONGEST_FILE:
            continue
        seen.add(path)
        place = _place(path, site, draw)
        if place is not None:
            yield place
            found += 1
        if found == count:
            return


def _place(path: Path, site: Path, draw: random.Random) -> Place | None:
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError:
        return None
    lines = text.split("\n")
    analysis = analyse(text, "python")
    if analysis.damaged:
        return None
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line) + 1)
    usable = [
        row
        for row, line in enumerate(lines)
        if len(line.strip()) >= _SHORTEST_LINE
        and line[:4].isspace()
        and analysis.edges_between(starts[row], starts[row + 1])
    ]
    if not usable:
        return None
    row = draw.choice(usable)
    line = lines[row].rstrip()
    indent = len(line) - len(line.lstrip())
    at = starts[row] + draw.randrange(indent + 2, indent + max(3, (len(line) - indent) // 2))
    end = starts[row] + len(line)
    name = f"{path.relative_to(site).as_posix()}:{row + 1}"
    return Place(name, text[:at], text[at:end], text[end:])
