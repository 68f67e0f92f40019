"""Where a symbol is used in its own file."""

from __future__ import annotations

import pytest

from journal import symbols

SOURCE = """\
LIMIT = 3

# Up is what is sent.
class Up:
    size = LIMIT

    def send(self, Up=None):
        return Up, self.send

    alias = send

def make():
    LIMIT = 4
    return Up(), LIMIT

print(LIMIT, make())
"""


def test_a_class_its_definition_and_its_uses() -> None:
    found = symbols.uses(SOURCE, "python", "Up")
    assert found == symbols.Uses(definitions=(4,), uses=(14,))


@pytest.mark.parametrize(
    ("path", "definitions", "lines"),
    [("LIMIT", (1,), (5, 16)), ("Up.send", (7,), (10,)), ("make", (12,), (16,)), ("alias", (10,), ())],
)
def test_other_symbols(path: str, definitions: tuple[int, ...], lines: tuple[int, ...]) -> None:
    assert symbols.uses(SOURCE, "python", path) == symbols.Uses(definitions, lines)


def test_java_methods_and_go_functions() -> None:
    java = "class A {\n  int f() { return g(); }\n  int g() { return g(); }\n}\n"
    assert symbols.uses(java, "java", "A.g") == symbols.Uses((3,), (2, 3))
    go = "package a\n\nfunc f() {}\n\nfunc g() { f() }\n"
    assert symbols.uses(go, "go", "f") == symbols.Uses((3,), (5,))


@pytest.mark.parametrize(
    ("language", "path", "problem"),
    [
        ("python", "Down", "no symbol Down"),
        ("bash", "Up", "uses are not known for bash"),
        ("", "Up", "this kind of file"),
        ("python", "", "empty"),
    ],
)
def test_what_cannot_be_found_is_said(language: str, path: str, problem: str) -> None:
    assert problem in symbols.uses(SOURCE, language, path).problem


def test_a_go_method_whose_receiver_is_not_written_yet() -> None:
    assert symbols.uses("package a\n\nfunc () f() {}\n", "go", "f") == symbols.Uses((), ())
