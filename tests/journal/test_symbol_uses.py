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
    [("LIMIT", (1,), (5, 16)), ("make", (12,), (16,)), ("alias", (10,), ()), ("size", (5,), ())],
)
def test_other_symbols(path: str, definitions: tuple[int, ...], lines: tuple[int, ...]) -> None:
    assert symbols.uses(SOURCE, "python", path) == symbols.Uses(definitions, lines)


def test_a_member_is_also_looked_for_behind_dots_while_only_one_has_its_name() -> None:
    assert symbols.uses(SOURCE, "python", "Up.send") == symbols.Uses((7,), (10,), reached=(8,))
    another = SOURCE + "class Down:\n    def send(self): ...\n"
    assert symbols.uses(another, "python", "Up.send") == symbols.Uses((7,), (10,))


def test_members_that_are_no_names_have_places_too() -> None:
    rust = "struct Up {\n  size: u8,\n}\nimpl Up {\n  fn send(&self) {\n    self.size; self.send();\n  }\n}\n"
    assert symbols.uses(rust, "rust", "Up::size") == symbols.Uses((2,), reached=(6,))
    assert symbols.uses(rust, "rust", "Up::send") == symbols.Uses((5,), reached=(6,))
    script = "class Up {\n  send() {\n    this.send();\n  }\n}\n"
    assert symbols.uses(script, "javascript", "Up.send") == symbols.Uses((2,), reached=(3,))


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
    assert symbols.uses("package a\n\nfunc () f() {}\n", "go", "f") == symbols.Uses((3,), ())
