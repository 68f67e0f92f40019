"""Texts with a cursor in them, and texts that end anywhere."""

from __future__ import annotations

import random
import sysconfig
from pathlib import Path

import pytest

from engine.usedef import Analysis, Name, analyse
from tests.engine.usedef import labelled_texts

SOURCE = """\
import os
LIMIT = 1
class Up:
    size = LIMIT
    def send(self, path, *, retries=3):
        for attempt in range(retries):
            data = os.read(path)
            |
        return None
    def other(self):
        pass
def after(x):
    return x
"""


def at_cursor(marked: str, language: str = "python") -> Analysis:
    prefix, _, suffix = marked.partition("|")
    return analyse(prefix + suffix, language, hole=len(prefix))


def test_names_in_scope_nearest_first() -> None:
    names = at_cursor(SOURCE).names_at()
    levels = {name.text: name.level for name in names}

    assert levels == {
        "self": 0, "path": 0, "retries": 0, "attempt": 0, "data": 0, "os": 1, "LIMIT": 1, "Up": 1, "after": 1,
    }  # fmt: skip
    assert [name.level for name in names] == sorted(name.level for name in names)


@pytest.mark.parametrize(
    ("language", "marked", "names"),
    [
        ("python", "a = 1\nb = 2\n|", ["a", "b"]),
        ("python", "def f(x):\n    y = [z for z in x]\n    |\nw = 1\n", ["f", "w", "x", "y"]),
        ("python", "def f(x):\n    y = 1\n|\nw = 1\n", ["f"]),
        ("python", "def f(x):\n    return x.|", ["f", "x"]),
        ("python", "def f(x):\n    g(x, |\n\ny = 1\n", ["f", "x", "y"]),
        ("python", "def f(x):\n    if x|\n    return x\n", ["f", "x"]),
        ("python", "class A:\n    b = 1\n    c = |\n", ["b"]),
        (
            "python",
            "class A:\n    b = 1\n    def m(self):\n        |\n",
            ["A", "self"],
        ),
        (
            "javascript",
            "const a = 1; function f(b) { let c; { let d; | } let e; }",
            ["a", "b", "c", "d", "e", "f"],
        ),
        ("typescript", "interface A {} function f(b: A) { const c: | }", ["A", "b", "c", "f"]),
        ("rust", "struct A; fn f(b: u8) { let c = 1; | let d = 2; }", ["A", "b", "c", "f"]),
        ("go", "package p\nfunc f(a int) {\n\tb := a\n\t|\n\tc := b\n\t_ = c\n}\n", ["a", "b", "f"]),
        ("java", "class A { int x; void f(int a) { int b = 1; | int c; } }", ["A", "a", "b", "f", "x"]),
        ("c", "#define M 1\nint x;\nint f(int a) { int b; | int c; }", ["M", "a", "b", "f", "x"]),
    ],
)
def test_names_in_scope(language: str, marked: str, names: list[str]) -> None:
    assert sorted(name.text for name in at_cursor(marked, language).names_at()) == names


def test_names_without_a_hole_follow_the_indentation() -> None:
    source = "def f(x):\n    y = 1\n    \n\nz = 2\n"
    analysis = analyse(source, "python")
    inside = {name.text for name in analysis.names_at(source.index("    \n") + 4)}
    below = {name.text for name in analysis.names_at(source.index("\nz"))}
    assert inside == {"f", "x", "y", "z"}
    assert below == {"f"}


@pytest.mark.parametrize(
    ("language", "marked", "needed"),
    [
        ("python", "a = 1\nb = 2\nc = f(a, |)\nd = b\n", ["a"]),
        ("python", "a = 1\nb = 2\nif a and |:\n    c = b\n", ["a"]),
        ("python", "def f(x, y):\n    z = x + |\n    return y\n", ["x"]),
        ("go", "package p\nfunc f(a int, b int) {\n\tc := a + |\n\td := b\n}\n", ["a"]),
        ("c", "int f(int a, int b) { int c = a + |; return b; }", ["a"]),
    ],
)
def test_what_a_statement_needs(language: str, marked: str, needed: list[str]) -> None:
    assert [name.text for name in at_cursor(marked, language).needed_at()] == needed


def test_offsets_behind_the_hole_are_those_of_the_source() -> None:
    source = "é = 1\nprint()\nf(é, 2)\nx = 漢 = é\n漢\n"
    hole = source.index(")")
    edges = analyse(source, "python", hole=hole).edges
    assert [edge.use for edge in edges] == [
        Name("é", at, at + 1) for at in (source.index("é, 2"), source.rindex("é"))
    ] + [Name("漢", len(source) - 2, len(source) - 1)]
    assert analyse(source, "python").edges == edges


def kept(text: str, language: str, cuts: int) -> float:
    """The share of the edges inside what is kept that is found after cutting at random places."""
    random_ = random.Random(1)
    pairs = [(use, name) for use, definitions in analyse(text, language).edges for name in definitions]
    found = wanted = 0
    for _ in range(cuts):
        cut = random_.randrange(1, len(text))
        left = {use: set(definitions) for use, definitions in analyse(text[:cut], language).edges}
        inside = [(use, name) for use, name in pairs if use.end <= cut and name.end <= cut]
        found += sum(name in left.get(use, ()) for use, name in inside)
        wanted += len(inside)
    return found / wanted


@pytest.mark.parametrize("language", ["javascript", "typescript", "rust", "go", "java", "c"])
def test_edges_of_a_text_cut_anywhere(language: str) -> None:
    assert kept(labelled_texts.read(language).text, language, 30) >= 0.9


@pytest.mark.parametrize("module", ["bisect", "cmd", "sched", "queue"])
def test_edges_of_python_cut_anywhere(module: str) -> None:
    path = Path(sysconfig.get_path("stdlib")) / f"{module}.py"
    assert kept(path.read_text("utf-8"), "python", 10) >= 0.9
