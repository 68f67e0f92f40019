"""Which definition a local name means: by hand, for every way to bind one."""

from __future__ import annotations

import pytest

from engine.heads import gold


def meanings(text: str) -> list[tuple[str, int, int, str]]:
    """(name, line of the use, line of its definition, text of the value) of every use."""
    data = text.encode()

    def line(at: int) -> int:
        return data.count(b"\n", 0, at) + 1

    return [
        (use.name, line(use.span[0]), line(use.definition.span[0]),
         data[slice(*use.definition.value)].decode() if use.definition.value else "")
        for use in gold.analyse(text).uses
    ]  # fmt: skip


def test_the_right_side_of_an_assignment_means_what_was_before_it() -> None:
    text = "def f(x: int):\n    x = g(x)\n    return x\n"
    assert meanings(text) == [("x", 2, 1, "int"), ("x", 3, 2, "g(x)")]


def test_every_way_to_bind_a_name() -> None:
    text = """def f(*rest, key=1):
    import os.path as place
    from a import b
    for one in rest:
        with place(one) as (left, right):
            left(right, b)
    try:
        if (found := key):
            found()
    except ValueError as error:
        error()
    def inner(): ...
    inner()
    key += 1
    return key
"""
    assert [(name, at, to) for name, at, to, _ in meanings(text)] == [
        ("rest", 4, 1), ("place", 5, 2), ("one", 5, 4), ("left", 6, 5), ("right", 6, 5), ("b", 6, 3),
        ("key", 8, 1), ("found", 9, 8), ("error", 11, 10), ("inner", 13, 12), ("key", 15, 14),
    ]  # fmt: skip


def test_names_of_elsewhere_have_no_edge() -> None:
    text = """top = 1
def f(a):
    global top
    top = a
    b = [a for a in top]
    def g():
        return b, top
    return lambda a: a
"""
    assert meanings(text) == [("a", 4, 2, "")]


def test_a_method_and_a_decorated_function() -> None:
    text = "class A:\n    @wrap(\n        1)\n    def f(self, x):\n        return self.x + x\n"
    assert meanings(text) == [("self", 5, 4, ""), ("x", 5, 4, "")]


def test_offsets_are_bytes() -> None:
    text = "def f():\n    é = 'ü'; word = é\n    return word\n"
    data = text.encode()
    for use in gold.analyse(text).uses:
        assert data[slice(*use.span)].decode() == use.name
        assert data[slice(*use.definition.span)].decode() == use.name


def test_earlier_definitions_are_stale_and_names_in_force_are_visible() -> None:
    text = "def f(a):\n    b = a\n    b = 2\n    return b\n"
    (_, last) = gold.analyse(text).uses
    assert [one.span[0] for one in last.stale] == [text.index("b = a")]
    (scope,) = gold.analyse(text).scopes
    assert set(scope.visible(text.index("b = a"))) == {"a"}
    assert scope.visible(len(text))["b"].span[0] == text.index("b = 2")


def test_a_broken_file_is_refused() -> None:
    with pytest.raises(SyntaxError):
        gold.analyse("def f(:\n")
