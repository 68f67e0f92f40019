"""Post-filters: what is taken off a suggestion before anyone sees it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.request import Request
from engine.suggest import Finished, finish, judge
from engine.suggest.filters import blank, bracket, dedent, echo, repeated, suffix, trailing


def request(prefix: str = "", after: str = "", path: str = "a.py") -> Request:
    return Request(prefix, after, path=path)


def test_a_good_suggestion_passes_untouched() -> None:
    text = "enter(amount_cents=cents, memo=reason)"
    assert judge(text, request("book.", "\n    return book\n")) == Finished(text)


def test_what_ended_a_suggestion_is_named() -> None:
    assert judge("  \n", request()) == Finished("", ("trailing",))
    assert judge("return x", request("    ", "\n    return x\n")) == Finished("", ("suffix",))
    assert judge("1)", request("f(", ")")) == Finished("1", ("suffix",))


@pytest.mark.parametrize(
    ("prefix", "text", "after", "expected"),
    [
        ("f(", "a)", ")", "a"),
        ("f(g(", "a))", ")", "a)"),
        ("f(g(", "a))", "))", "a"),
        ("f(", "a)", "", "a)"),
        ("f(", "g(a)", ")", "g(a)"),
        ("x = ", "f(a)", "\n)", "f(a)"),
        ("x = [", "1]", "]  # end", "1"),
        ("x = ", "1)", "", "1"),
        ("function f() {\n  ", "return 1;\n}", "\n}\n", "return 1;"),
        ("x = '", "(a)'", "", "(a)'"),
    ],
)
def test_closing_brackets_that_are_there_already(prefix: str, text: str, after: str, expected: str) -> None:
    path = "a.js" if "function" in prefix else "a.py"
    assert finish(text, request(prefix, after, path)) == expected
    assert bracket.trim(text, request(prefix, after, path)).rstrip() == expected


@pytest.mark.parametrize(
    ("prefix", "text", "after", "expected"),
    [
        ("x = ", "1\n    return x", "\n    return x\n", "1"),
        ("    ", "return x", "\n    return x\n", None),
        ("    ", "y = 1\n    return x\n", "\n\n    return x\n", "y = 1"),
        ("f(a, ", "b, c)", ", c)\n", "b"),
        ("x = ", "a", "b", "a"),
        ("x = ", "1", "", "1"),
        ("    ", "return xy", "\n    return x\n", "return xy"),
    ],
)
def test_the_end_that_repeats_the_suffix(prefix: str, text: str, after: str, expected: str | None) -> None:
    assert suffix.trim(text, request(prefix, after)) == expected


def test_lines_that_go_round_in_circles() -> None:
    assert repeated.trim("a = 1\na = 1\na = 1\nb", request()) == "a = 1"
    assert repeated.trim("one\ntwo\none\ntwo\none\ntwo\n", request()) == "one\ntwo"
    assert repeated.trim("    }\n  }\n}\n", request()) == "    }\n  }\n}\n"
    assert repeated.trim("f()\nf()\n", request()) == "f()\nf()\n"


def test_an_echo_of_the_line_above_is_dropped() -> None:
    above = "import os\nimport sys\n"
    assert echo.drop("import sys", request(above)) is None
    assert echo.drop("ort sys", request(above + "imp")) is None
    assert echo.drop("\nimport sys", request("x = 1\nimport sys")) is not None
    assert echo.drop("import json", request(above)) == "import json"
    assert echo.drop("}", request("  }\n")) == "}"
    assert echo.drop("first", request("")) == "first"


def test_python_does_not_leave_a_block_that_goes_on_below() -> None:
    inside = request("def f(xs):\n    left = 1\n    ", "\n    return left\n")
    main = '\nif __name__ == "__main__":'
    assert dedent.drop(main, inside) is None
    assert finish(main, inside) == ""
    for text in ("right = 2", "\n    right = 2", "if xs:\n        pass\n", "\nelse:", ""):
        assert dedent.drop(text, inside) == text
    last = request("def f(xs):\n    return xs\n    ", "\n\ndef g():\n    pass\n")
    assert dedent.drop(main, last) == main
    listed = request("xs = [\n    1,\n    ", "\n    3,\n]\n")
    assert dedent.drop("\n2,", listed) == "\n2,"
    assert dedent.drop(main, request("f() {\n    ", "\n    g()\n", "a.js")) == main


def test_white_space_at_line_ends_goes_but_not_before_text() -> None:
    assert trailing.trim("a  \n  b \t\n\n", request()) == "a\n  b"
    assert trailing.trim("a, ", request("f(", "b)")) == "a, "
    assert trailing.trim("a  ", request("f(", "\nb)")) == "a"
    assert trailing.trim("  ", request()) == ""


def test_blank_is_nothing() -> None:
    assert blank.drop(" \t\n", request()) is None
    assert blank.drop(" x", request()) == " x"


@given(
    st.text(max_size=80), st.text(max_size=60), st.text(max_size=60), st.sampled_from(["a.py", "a.js", ""])
)
def test_filters_only_take_away(text: str, prefix: str, after: str, path: str) -> None:
    finished = finish(text, request(prefix, after, path))
    kept = iter(text)
    assert all(character in kept for character in finished)
    assert finish(finished, request(prefix, after, path)) in (finished, "") or len(finished) < len(text)


def test_the_mask_of_a_secret_is_never_suggested() -> None:
    assert finish('"[redacted]", x)', request("connect(")) == ""
    assert finish('a = 1\nKEY = "[redacted]"', request()) == "a = 1"
