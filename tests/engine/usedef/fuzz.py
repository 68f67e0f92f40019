"""Damaged files: whatever is done to a text, the analysis comes back and what it says lies inside the text.

    python tests/engine/usedef/fuzz.py [--files 100000] [--seed 1]

Prints how many files were analysed, how long the slowest took, and stops at the first that breaks a promise.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from engine.usedef import LANGUAGES, Analysis, Document, analyse
from engine.usedef.members import paths, reached
from tests.engine.usedef import labelled_texts

_WORDS = [
    "(", ")", "[", "]", "{", "}", ":", ";", ",", ".", "=", "==", ":=", "=>", "->", "::", "#", "//",
    "/*", "*/", "'", '"', "`", '"""', '\\', '\n', '\t', '\x00', "�", "é", "漢", "𝑥", "def", "class",
    "if", "else", "for", "in", "while", "with", "as", "try", "except", "global", "nonlocal", "lambda",
    "match", "case", "fn", "let", "impl", "struct", "enum", "use", "mod", "macro_rules!", "func",
    "type", "var", "const", "import", "from", "function", "return", "catch", "new", "async", "await",
    "<T>", "?.", "...", "@x", "$", "#define", "#ifdef", "#endif", "goto",
]  # fmt: skip
_PYTHON = """
import os as system
from a.b import (c, d as e)
@decorate(c)
def first(one, two=system, *rest, key: int = 3, **more) -> e:
    global total
    total = one
    try:
        with open(two) as (left, right), key as other:
            for i, (j, *k) in enumerate(rest):
                if i > (n := len(k)): left = n
                else: del left
                print(left, f"{right!r:{j}}")
    except (OSError, ValueError) as error:
        raise error from None
    match more:
        case {"x": x, **others} if x: return others
        case [a, *b] | Point(x=a, y=b): return a, b
    class Inner(dict):
        field = total
        def method(self, /): nonlocal other; other = self; return [y for y in self if y for z in y]
    return lambda q, w=two: (q, w, other, Inner)
type Alias[T: int] = list[T]
"""


class Slow(NamedTuple):
    """The file that took longest."""

    seconds: float
    language: str


def texts() -> dict[str, str]:
    """A text of each language to start from."""
    found = {name: labelled_texts.read(name).text for name in LANGUAGES if name not in ("python", "tsx")}
    return {**found, "python": _PYTHON, "tsx": found["javascript"]}


def mutated(text: str, others: Sequence[str], random_: random.Random, *, longest: int = 6000) -> str:
    """`text` after one to six changes: cut, doubled, swapped, spliced with another, words put in."""
    for _ in range(random_.randint(1, 6)):
        first, last = sorted(random_.choices(range(len(text) + 1), k=2))
        short = min(last, first + random_.randint(0, 30))
        kind = random_.randrange(7)
        if kind == 0:
            text = text[:first] + text[short:]
        elif kind == 1:
            text = text[:first] + random_.choice(_WORDS) + text[first:]
        elif kind == 2:
            text = text[:first] + text[first:short] * random_.randint(2, 40) + text[short:]
        elif kind == 3:
            text = text[:first]
        elif kind == 4:
            other = random_.choice(others)
            place = random_.randrange(len(other) + 1)
            text = text[:first] + other[place : place + random_.randint(1, 200)] + text[first:]
        elif kind == 5:
            text = text[:first] + "".join(random_.choices(_WORDS, k=random_.randint(1, 8))) + text[short:]
        else:
            text = text[:first] + random_.choice("([{\"'`:") * random_.randint(1, 60) + text[first:]
    return text[:longest]


def check(found: Analysis, text: str) -> None:
    """Every promise that holds for any text."""
    last = -1
    for use, definitions in found.edges:
        assert last < use.start, "uses are in text order, and each is there once"
        last = use.start
        assert definitions, "a use without definitions is no edge"
        assert list(definitions) == sorted(definitions, key=lambda name: name.start)
        for name in (use, *definitions):
            assert 0 <= name.start < name.end <= len(text)
            assert text[name.start : name.end] == name.text
            assert name.text == use.text


def check_around(found: Analysis, text: str, place: int) -> None:
    """What is asked of a place, of members and of names without a definition."""
    start, end = found.piece_at(place)
    assert 0 <= start <= end <= len(text)
    edges = {edge.use for edge in found.edges}
    unbound = found.unbound_between(0, len(text))
    assert not edges.intersection(unbound), "a use has definitions or it has none"
    for name in (*unbound, *(one for _, one in paths(found)), *reached(found, "a")):
        assert text[name.start : name.end] == name.text
    for name in found.declared:
        first, last = found.header_of(name) or (0, 0)
        assert 0 <= first <= last <= len(text)


def cases(count: int, seed: int, *, longest: int = 6000) -> Iterator[tuple[str, str, random.Random]]:
    """Languages and damaged texts."""
    random_ = random.Random(seed)
    starts = texts()
    everything = list(starts.values())
    for index in range(count):
        language = LANGUAGES[index % len(LANGUAGES)]
        yield language, mutated(starts[language], everything, random_, longest=longest), random_


def one(language: str, text: str, random_: random.Random) -> None:
    """One file: whole, with a hole, and after an edit."""
    way, place = random_.randrange(3), random_.randint(0, len(text))
    if way == 0:
        whole = analyse(text, language)
        check(whole, text)
        check_around(whole, text, place)
        return
    if way == 1:
        found = analyse(text, language, hole=place)
    else:
        document = Document(text, language)
        end = min(len(text), place + random_.randint(0, 5))
        found = document.edit(place, end, random_.choice(_WORDS))
        text = document.source
    check(found, text)
    check_around(found, text, min(place, len(text)))
    found.needed_at()
    for name in found.names_at():
        assert name.definitions
        assert all(text[one.start : one.end] == one.text for one in name.definitions)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    slowest, start = Slow(0.0, ""), time.process_time()
    for number, (language, text, random_) in enumerate(cases(options.files, options.seed), 1):
        before = time.process_time()
        try:
            one(language, text, random_)
        except BaseException:
            print(f"\nfile {number}, {language}: {text!r}")
            raise
        slowest = max(slowest, Slow(time.process_time() - before, language))
        if number % 1000 == 0:
            print(f"\r{number:,} files", end="", file=sys.stderr, flush=True)
    spent = time.process_time() - start
    print(f"\r{options.files:,} files, {spent:.0f} s, slowest {slowest.seconds:.2f} s ({slowest.language})")


if __name__ == "__main__":
    main()
