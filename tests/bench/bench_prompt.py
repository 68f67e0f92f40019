"""Composed prompts: the size of their chunks, how stable they are while someone types, a keystroke's cost.

    python tests/bench/bench_prompt.py [MODEL] [--folder FOLDER]

MODEL is a catalogue name or a GGUF (default: the default model); FOLDER holds Python files (default: the
standard library). Stability is compared with chunks cut along the syntax tree, all else equal. Times are
thread CPU milliseconds, medians, exact and composed prompts taken in turn.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from engine import grammars
from engine.decode.heal import Vocabulary
from engine.documents import Document
from engine.kv import chunks
from engine.models import provision
from engine.prompt import Composition, Family, assemble, detect
from engine.request import Request
from engine.runtime.llama import Model
from engine.settings import Settings

SEED = 1
LINES_A_FILE = 10
LONGEST_CHARACTERS = 40_000


def along_the_tree(text: str) -> list[str]:
    """Chunks as `chunks.split` makes them, but a line start is as strong as few nodes of the tree span it."""
    lines = text.split("\n")
    tree = grammars.parse(text.encode(), "python")
    assert tree is not None
    spans = np.zeros(len(lines) + 2, np.int64)
    nodes = [tree.root_node]
    while nodes:
        node = nodes.pop()
        if node.end_point.row > node.start_point.row:
            spans[node.start_point.row + 1] += 1
            spans[node.end_point.row + 1] -= 1
            nodes.extend(node.children)
    facts = np.array([chunks._facts(line) for line in lines], np.int64)
    blank = (facts & chunks._BLANK) != 0
    strength = 40 - 3 * np.minimum(np.cumsum(spans)[: len(lines)], 12)
    strength = np.where(blank, 0, strength + np.where(np.concatenate(([True], blank[:-1])), 2, 0))
    hashed = (facts >> chunks._HASH_SHIFT) & chunks._HASH_MASK
    ranks = (((strength << 16) | hashed) << 32) - np.arange(len(lines))
    sums = [0, *np.cumsum(facts & chunks._TOKENS_MASK).tolist()]
    edges = [0, *chunks._cuts(sums, ranks, chunks.MOST_TOKENS, chunks.LEAST_TOKENS), len(lines)]
    return ["\n".join(lines[a:b]) + "\n" for a, b in pairwise(edges)]


def typed(text: str, rng: random.Random) -> Iterator[Iterator[tuple[str, int]]]:
    """Lines of `text` typed again: at each keystroke the text, and where the line begins."""
    lines = text.split("\n")
    fitting = [i for i, line in enumerate(lines) if 20 < len(line.strip()) < 90]
    for index in rng.sample(fitting, min(LINES_A_FILE, len(fitting))):
        line = lines[index]
        indent = len(line) - len(line.lstrip())
        above, below = "\n".join([*lines[:index], ""]), "\n".join(["", *lines[index + 1 :]])
        yield ((above + line[:end] + below, len(above)) for end in range(indent, len(line) + 1))


def stability(split: Callable[[str], list[str]], texts: list[str]) -> tuple[float, float]:
    """Percent of keystrokes that change a chunk without the cursor, and characters so changed a keystroke."""
    rng = random.Random(SEED)
    keys = moved = lost = 0
    for text in texts:
        for line in typed(text, rng):
            before: set[str] | None = None
            for now, cursor in line:
                others, start = set(), 0
                for chunk in split(now):
                    if not start <= cursor < start + len(chunk):
                        others.add(chunk)
                    start += len(chunk)
                if before is not None:
                    keys += 1
                    moved += bool(before - others)
                    lost += sum(map(len, before - others))
                before = others
    return 100 * moved / keys, lost / keys


def sizes(texts: list[str], model: Model) -> str:
    """Tokens a chunk, by the model's tokenizer."""
    counts = sorted(len(model.encode(chunk, special=False)) for text in texts for chunk in chunks.split(text))
    tenth, half, most = (counts[int(len(counts) * share)] for share in (0.1, 0.5, 0.99))
    over = sum(count > chunks.MOST_TOKENS for count in counts)
    spread = f"p10 {tenth}, median {half}, p99 {most}, most {counts[-1]}"
    return f"{len(counts)} chunks; {spread}; {over} over {chunks.MOST_TOKENS}"


def keystrokes(text: str, model: Model, family: Family) -> dict[str, float]:
    """A line typed in the middle of 3,000 lines, beside four documents of about 512 tokens."""
    vocabulary = Vocabulary(model.pieces())
    documents = tuple(Document(f"{i}.py", text[i * 1800 : (i + 1) * 1800], "source") for i in range(4))
    middle = text.index("\n", len(text) // 2) + 1
    line = "    self.value = compute(argument, other) + something_else[index]\n"
    ways = {
        "exact": None,
        "composed": Composition(),
        "composed, attention bounded": Composition(attention_tokens=3000),
    }
    spent: dict[str, list[float]] = {name: [] for name in ways} | {"of it, chunks": []}
    for end in range(1, len(line)):
        for turn, (name, composition) in enumerate(ways.items()):
            # Each its own text: encoded texts are remembered.
            now = text[:middle] + f"# {turn}\n"
            request = Request(
                now + line[:end],
                text[middle:],
                path="a.py",
                documents=documents,
                file_tokens=1024,
                layout="repo/fim",
            )
            started = time.thread_time()
            assemble(request, model, family, context_tokens=4096, vocabulary=vocabulary, composed=composition)
            spent[name].append((time.thread_time() - started) * 1e3)
        whole = replace(request, prefix="#\n" + request.prefix)
        started = time.thread_time()
        chunks.split(whole.prefix + whole.suffix)
        spent["of it, chunks"].append((time.thread_time() - started) * 1e3)
    return {name: statistics.median(values[1:]) for name, values in spent.items()}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", nargs="?", default=Settings().model)
    parser.add_argument("--folder", type=Path, default=Path(sysconfig.get_paths()["stdlib"]))
    parser.add_argument("--files", type=int, default=5)
    options = parser.parse_args()
    paths = sorted(options.folder.glob("*.py"))
    texts = [path.read_text("utf-8", "replace")[:LONGEST_CHARACTERS] for path in paths]
    texts = [text for text in texts if text.count("\n") > 150]
    drawn = random.Random(SEED).sample(texts, min(options.files, len(texts)))
    model = Model(provision.locate(options.model))
    print(f"{len(texts)} files: {sizes(texts, model)}")
    for name, split in (("by line", lambda text: list(chunks.split(text))), ("by tree", along_the_tree)):
        moved, lost = stability(split, drawn)
        print(f"{name}: {moved:.2f} % of keystrokes change another chunk, {lost:.1f} characters a keystroke")
    long = "".join("".join(texts).splitlines(keepends=True)[:3000])
    for name, spent in keystrokes(long, model, detect(model.metadata, model.special)).items():
        print(f"{name:28} {spent:6.2f} ms a keystroke")


if __name__ == "__main__":
    main()
