"""Scope analysis of a file of 2,000 lines: from scratch, and what a keystroke costs.

    python tests/bench/bench_edges.py [--rounds 1] [--names] [--json docs/results/edges.json]

The file: the first 2,000 lines of the standard library's `argparse.py`. A line is typed into a function
near its start, in its middle and near its end, character by character. A keystroke is: parse again, read
again what changed, the names in scope at the cursor and the definitions its statement needs. All edges of the
file are asked for as well, and timed apart: who needs them pays for names that moved. Times are of the wall
clock and, for a keystroke, also of the processor: on a busy machine the first is the larger.

`--names` looks at what the names in scope know of the next name instead: up to 200 places in the standard
library where a name that is no builtin is read; the rest of its line is taken away. How often the name is in
scope there, and how often it is the nearest of those (scope, then definition) that begin with its first
characters, 0 to 3 of them.
"""

from __future__ import annotations

import ast
import builtins
import random
import statistics
import sys
import sysconfig
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from engine.usedef import Document, analyse
from tests.bench import measure

LINES = 2000
TYPED = "        value = self._name(namespace, [option_string])\n"
PLACES = {"start": 0.05, "middle": 0.5, "end": 0.93}


def source() -> str:
    """A file of 2,000 lines."""
    path = Path(sysconfig.get_path("stdlib")) / "argparse.py"
    return "".join(path.read_text("utf-8").splitlines(keepends=True)[:LINES])


def hole(text: str, share: float) -> int:
    """The start of a line in a function's body, about so far into the text."""
    at = text.index("\n        return", int(len(text) * share))
    return at + 1


def spread(times: list[float]) -> measure.Json:
    """Milliseconds: median, 95th percentile, largest, how many."""
    found = sorted(times)
    p95 = found[min(len(found) - 1, int(len(found) * 0.95))]
    return {
        "median": round(statistics.median(found), 2),
        "p95": round(p95, 2),
        "max": round(found[-1], 2),
        "n": len(found),
    }


def timed_ms(start: float) -> float:
    return (time.perf_counter() - start) * 1000


def typing(text: str, share: float) -> tuple[list[float], list[float], list[float]]:
    """Milliseconds of every keystroke (wall clock, processor), and of all edges behind it."""
    document, at = Document(text, "python"), hole(text, share)
    document.analysis.edges
    keys, processor, edges = [], [], []
    for character in TYPED:
        start, spent = time.perf_counter(), time.process_time()
        analysis = document.edit(at, at, character)
        analysis.names_at()
        analysis.needed_at()
        processor.append((time.process_time() - spent) * 1000)
        keys.append(timed_ms(start))
        start = time.perf_counter()
        analysis.edges
        edges.append(timed_ms(start))
        at += 1
    return keys, processor, edges


def scratch(text: str) -> float:
    start = time.perf_counter()
    analyse(text, "python").edges
    return timed_ms(start)


def reads(text: str) -> list[tuple[int, str]]:
    """Offsets and names of what an ASCII text reads, without builtins and short names."""
    starts = [0, *(index + 1 for index, character in enumerate(text) if character == "\n")]
    found = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)]
    return [
        (starts[node.lineno - 1] + node.col_offset, node.id)
        for node in found
        if isinstance(node.ctx, ast.Load) and len(node.id) > 3 and not hasattr(builtins, node.id)
    ]


def in_scope(text: str, at: int, name: str) -> tuple[int, bool, list[bool]]:
    """How many names are in scope, whether `name` is, and whether it is the nearest by prefix."""
    end = text.find("\n", at)
    names = analyse(text[:at] + text[end:], "python", hole=at).names_at()
    nearest = sorted(names, key=lambda one: (one.level, -one.definitions[-1].start))
    order = [one.text for one in nearest]
    begins = [[one for one in order if one.startswith(name[:typed])] for typed in range(4)]
    firsts = [found[:1] == [name] for found in begins]
    return len(order), name in order, firsts


def names() -> measure.Json:
    """What names in scope know of the next name."""
    random_, rows = random.Random(5), []
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("[a-z]*.py"))[::3]:
        text = path.read_text("utf-8")
        found = reads(text) if text.isascii() else []
        rows += [in_scope(text, *one) for one in random_.sample(found, min(4, len(found)))]
    rows = random_.sample(rows, min(200, len(rows)))
    return {
        "places": len(rows),
        "names_in_scope": statistics.median(row[0] for row in rows),
        "in_scope": round(statistics.mean(row[1] for row in rows), 3),
        "nearest_by_characters_typed": [
            round(statistics.mean(row[2][k] for row in rows), 3) for k in range(4)
        ],
    }


def main() -> None:
    parser = measure.parser(__doc__, rounds=1)
    parser.add_argument("--names", action="store_true", help="what names in scope know of the next name")
    options = parser.parse_args()
    if options.names:
        return measure.publish({"names": names()}, options, load=measure.machine())
    load, text = measure.machine(), source()
    keys: dict[str, list[float]] = {name: [] for name in PLACES}
    edges: dict[str, list[float]] = {name: [] for name in PLACES}
    processor: list[float] = []
    for _ in range(options.rounds):
        for name, share in PLACES.items():
            typed, spent, listed = typing(text, share)
            processor += spent
            keys[name] += typed
            edges[name] += listed
    result: measure.Json = {
        "lines": text.count("\n"),
        "bytes": len(text.encode()),
        "edges": len(analyse(text, "python").edges),
        "from_scratch_ms": spread([scratch(text) for _ in range(5)]),
        "keystroke_ms": {name: spread(times) for name, times in keys.items()},
        "keystroke_all_ms": spread([one for times in keys.values() for one in times]),
        "keystroke_processor_ms": spread(processor),
        "all_edges_behind_it_ms": {name: spread(times) for name, times in edges.items()},
    }
    return measure.publish(result, options, load=load)


if __name__ == "__main__":
    main()
