"""Holes in files of the standard library, without documents: what a prompt's shape alone is worth.

Every model has read these files; arms are compared with each other, never with other suites.
"""

from __future__ import annotations

import random
import sysconfig
from pathlib import Path

from engine.documents import Document
from tests.bench.api_tasks import Task

_MODULES = ("argparse", "calendar", "configparser", "csv", "difflib", "fractions", "ftplib", "heapq")
_MODULES += ("imaplib", "mailbox", "nntplib", "pprint", "sched", "shelve", "shlex", "textwrap", "zipfile")
_LINES_BEFORE = 24
_LINES_AFTER = 10
_SHORTEST_LINE = 20


def code_tasks(count: int = 20, *, seed: int = 7, inside: bool = False) -> list[Task]:
    """`count` holes from somewhere inside a line of code to its end, or (`inside`) to somewhere before it."""
    draw = random.Random(seed)
    folder = Path(sysconfig.get_paths()["stdlib"])
    files = [folder / f"{name}.py" for name in _MODULES if (folder / f"{name}.py").is_file()]
    return [_task(files[i % len(files)], draw, inside=inside) for i in range(count)]


def _task(path: Path, draw: random.Random, *, inside: bool) -> Task:
    lines = path.read_text("utf-8").split("\n")
    candidates = [
        i
        for i in range(_LINES_BEFORE, len(lines) - _LINES_AFTER)
        if len(lines[i].strip()) >= _SHORTEST_LINE and lines[i][:4].isspace() and "#" not in lines[i]
    ]
    index = draw.choice(candidates)
    line = lines[index].rstrip()
    indent = len(line) - len(line.lstrip())
    at = draw.randrange(indent + 2, indent + max(3, (len(line) - indent) // 2))
    before = "\n".join([*lines[index - _LINES_BEFORE : index], line[:at]])
    end = draw.randrange(min(at + 3, len(line) - 1), len(line)) if inside else len(line)
    after = "\n".join([line[end:], *lines[index + 1 : index + 1 + _LINES_AFTER], ""])
    return Task(f"{path.stem}:{index + 1}", path.name, before, line[at:end], after, Document("", ""))
