"""Where a suggestion ends: line, statement, block, suffix, length, time."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.decode.brackets import balance
from engine.decode.stop import Stopper, Verdict
from engine.decode.stream import Utf8Stream
from engine.request import Request, StopAt


def stop(
    prefix: str,
    generated: str,
    *,
    suffix: str = "",
    path: str = "a.py",
    stop_at: StopAt = "statement",
    step: int = 1,
    **options: int,
) -> Verdict:
    """Feed `generated` in pieces of `step` characters until the Stopper has enough."""
    stopper = Stopper(Request(prefix, suffix, path=path, stop_at=stop_at, **{"max_tokens": 9999} | options))
    for end in [*range(step, len(generated), step), len(generated)]:
        verdict = stopper.feed(generated[:end], tokens=end)
        if verdict.reason:
            return verdict
    return stopper.finish(generated)


def test_a_statement_ends_where_its_brackets_are_closed() -> None:
    verdict = stop("def f():\n    book.ent", "er(\n        1,\n        2,\n    )\n    return 3\n")
    assert verdict == ("statement", "er(\n        1,\n        2,\n    )")


PYTHON = {
    "a line": ("x = ", "1\ny = 2\n", "1"),
    "a header": ("", "if x:\n    y = 1\n", "if x:"),
    "triple quotes": ("x = ", "'''a\n(b\n'''\ny = 2\n", "'''a\n(b\n'''"),
    "a continued line": ("x = ", "1 + \\\n    2\ny\n", "1 + \\\n    2"),
    "a decorator": ("", "@cached\ndef f():\n    pass\n", "@cached\ndef f():"),
    "a bracket in a string": ("x = ", "'('\ny = 2\n", "'('"),
    "a bracket in a comment": ("x = ", "1  # :(\ny = 2\n", "1  # :("),
    "an open string before": ("x = 'it", "s (here'\ny\n", "s (here'"),
    "an open bracket before": ("x = f(\n    1,\n    2", ")\ny = 3\n", ")"),
    "a list": ("x = [", "\n    1,\n]\ny\n", "\n    1,\n]"),
    "blank lines first": ("def f():", "\n    return 1\n    x\n", "\n    return 1"),
    "an escaped quote": ("x = ", "'\\''\ny = (\n", "'\\''"),
}


@pytest.mark.parametrize("step", [1, 3, 1000])
@pytest.mark.parametrize("case", PYTHON)
def test_python_statements(case: str, step: int) -> None:
    prefix, generated, expected = PYTHON[case]
    assert stop(prefix, generated, step=step) == ("statement", expected)


OTHERS = {
    "a chain": ("a.js", "let x = ", "foo\n  .bar()\n  .baz();\nlet y;\n", "", "foo\n  .bar()\n  .baz();"),
    "no semicolon": ("a.js", "let x = ", "foo\nlet y = 2\n", "", "foo"),
    "a template": ("a.js", "let x = ", "`a\n${b}(`;\nlet y\n", "", "`a\n${b}(`;"),
    "an operator at the end": ("a.js", "let x = ", "a +\n  b;\nlet y\n", "", "a +\n  b;"),
    "a block": (
        "a.js",
        "function f() {\n  ",
        "if (x) {\n    y();\n  }\n  z();\n",
        "\n}\n",
        "if (x) {\n    y();\n  }",
    ),
    "a loop": ("a.sh", "", "for x in a; do\n  echo $x\ndone\necho\n", "", "for x in a; do\n  echo $x\ndone"),
    "an if": ("a.sh", "", "if [ -f x ]; then\n  rm x\nfi\necho\n", "", "if [ -f x ]; then\n  rm x\nfi"),
    "a lifetime": (
        "a.rs",
        "fn f<'a>(x: &'a str) -> ",
        "&'a str {\n    x\n}\nfn g",
        "",
        "&'a str {\n    x\n}",
    ),
    "a c comment": ("a.c", "", "x(1, /* ( */ 2);\ny();\n", "", "x(1, /* ( */ 2);"),
    "go": ("a.go", "func f() {\n\t", "x := g(1,\n\t\t2)\n\treturn x\n", "\n}\n", "x := g(1,\n\t\t2)"),
    "java": ("A.java", "class A {\n  void f() {\n    ", "g(\n1);\n    h();\n", "\n  }\n}\n", "g(\n1);"),
    "no grammar": ("a.lua", "x = ", "f(1,\n 2)\ny = 2\n", "", "f(1,\n 2)"),
    "no language": ("", "x = ", "f(1,\n 2)\ny = 2\n", "", "f(1,\n 2)"),
    "prose": ("a.md", "It", "'s done (yes\n) and\nmore\n", "", "'s done (yes\n) and"),
}


@pytest.mark.parametrize("step", [1, 1000])
@pytest.mark.parametrize("case", OTHERS)
def test_statements_of_other_languages(case: str, step: int) -> None:
    path, prefix, generated, suffix, expected = OTHERS[case]
    assert stop(prefix, generated, suffix=suffix, path=path, step=step) == ("statement", expected)


def test_broken_code_below_does_not_keep_a_statement_open() -> None:
    suffix = "\n)) what { is\n"
    assert stop("let x = ", "f(1);\nlet y\n", suffix=suffix, path="a.js") == ("statement", "f(1);")


UNCLOSED = {
    "go": ("a.go", "package a\n\nfunc f(x int) int {\n\t", "if x == 0 {\n\t\treturn 1\n\t}\n\ty := 2\n", ""),
    "javascript": ("a.js", "class A {\n  f(x) {\n    ", "if (x) {\n      y();\n    }\n    z();\n", "\n}\n"),
    "rust": ("a.rs", "fn f(x: i32) -> i32 {\n    ", "let y = x + 1;\n    y\n}\n", ""),
    "java": ("A.java", "class A {\n  int f() {\n    ", "int x = g(\n1);\n    return x;\n", ""),
    "c": ("a.c", "int f(int x) {\n  ", "while (x) {\n    x--;\n  }\n  return x;\n", ""),
}


@pytest.mark.parametrize("step", [1, 1000])
@pytest.mark.parametrize("case", UNCLOSED)
def test_a_statement_ends_in_a_function_that_is_not_closed_yet(case: str, step: int) -> None:
    """Where one types at the end of a file, the brace of the function around is still to come."""
    path, prefix, generated, suffix = UNCLOSED[case]
    verdict = stop(prefix, generated, suffix=suffix, path=path, step=step)
    first = generated.index("}\n" if "{" in generated else ";\n") + 1
    assert verdict == ("statement", generated[:first])


def test_without_a_grammar_the_rules_still_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.grammars.parse", lambda source, language, limit_s: None)
    assert stop("let x = ", "f(1,\n 2);\ny\n", path="a.js").text == "f(1,\n 2);"


SUFFIX = {
    "the bracket that is there": ("book.enter(", "1, 2)\nx\n", ")\n", "1, 2"),
    "the next line": ("x = ", "1\n    return x\n", "\n    return x\n", "1"),
    "nothing but the next line": ("    ", "return x\n", "\n    return x\n", ""),
    "the rest of the line": ("def f(", "a, b):\n", "):\n    pass\n", "a, b"),
    "a rest with words": ("f(", "a, memo=reason)", ", memo=reason)\n", "a"),
    "a bracket on the next line": ("x = [\n    1,", "\n    2,\n]\n", "\n]\n", "\n    2,"),
    "a bracket that comes later": ("f(", "a)", ", b)\n", "a"),
    "a closing brace": ("function f() {\n  return 1;", "\n}\n", "\n}\n", ""),
}


@pytest.mark.parametrize("stop_at", ["statement", "block"])
@pytest.mark.parametrize("case", SUFFIX)
def test_the_suffix_is_not_said_twice(case: str, stop_at: StopAt) -> None:
    prefix, generated, suffix, expected = SUFFIX[case]
    path = "a.js" if "function" in prefix else "a.py"
    verdict = stop(prefix, generated, suffix=suffix, path=path, stop_at=stop_at)
    assert verdict.text == expected
    assert verdict.reason in ("suffix", "statement")


def test_a_bracket_of_the_text_s_own_is_kept() -> None:
    assert stop("f(", "g(1)", suffix=")\n").text == "g(1)"
    assert stop("f(a, ", "g(1))", suffix=")\n").text == "g(1)"
    assert stop("x = ", "f(1)", suffix="\n)\n").text == "f(1)"
    assert stop("foo(bar(", "a)", suffix=")\n").text == "a)"
    assert stop("foo(bar(", "a))", suffix=")\n").text == "a)"
    assert stop("foo(bar(", "a))\nx\n", suffix="\nx()\n").text == "a))"


BLOCKS = {
    "to the dedent": (
        "def f(x):",
        "\n    y = 1\n\n    return y\n\ndef g():\n",
        "\n    y = 1\n\n    return y",
    ),
    "from inside": (
        "def f(x):\n    ",
        "y = 1\n    if y:\n        z\n    return y\ng()\n",
        "y = 1\n    if y:\n        z\n    return y",
    ),
    "with else": ("if x:\n    ", "y\nelse:\n    z\nw = 1\n", "y"),
    "header with else": ("if x:", "\n    y\nelse:\n    z\nw = 1\n", "\n    y\nelse:\n    z"),
    "brackets out of line": ("def f():\n    ", "x = [\n1,\n]\n    y\nz\n", "x = [\n1,\n]\n    y"),
}


@pytest.mark.parametrize("case", BLOCKS)
def test_blocks_end_before_the_dedent(case: str) -> None:
    prefix, generated, expected = BLOCKS[case]
    assert stop(prefix, generated, stop_at="block") == ("statement", expected)


def test_a_line_ends_at_its_end() -> None:
    assert stop("x = ", "f(\n1)\n", stop_at="line") == ("line", "f(")
    assert stop("def f():", "\n    return 1\n", stop_at="line") == ("line", "\n    return 1")


def test_length_and_time_end_what_does_not_end_itself() -> None:
    assert stop("x = ", "a + b + c", max_tokens=5) == ("length", "a + b")
    now = [0.0]
    stopper = Stopper(Request("x = ", "", budget_ms=100), clock=lambda: now[0])
    assert stopper.feed("a").reason is None
    now[0] = 0.2
    assert stopper.feed("a + b") == ("time", "a + b")


def test_nothing_but_line_breaks_is_empty() -> None:
    assert stop("x = 1", "\n\n\n\n\n").reason == "empty"
    assert stop("f(", "\n", suffix=")") == ("empty", "")


def test_a_long_file_whose_far_part_begins_inside_a_docstring() -> None:
    method = 'def f(x):\n    """Say (what\'s\n\n    %s\n    """\n    return x\n\n\n' % ("words " * 60)
    for shift in range(0, 800, 37):
        prefix = "#" * shift + "\n" + method * 60 + "x = "
        assert stop(prefix, "f(\n    1)\ny = 2\n").text == "f(\n    1)"


def test_windows_line_ends() -> None:
    assert stop("x = f(\r\n", "    1)\r\ny = 2\r\n").text.rstrip() == "    1)"
    assert stop("x = ", "1\r\n", suffix="\r\ny = 2\r\n").text.rstrip() == "1"


def test_only_new_characters_cost() -> None:
    stopper = Stopper(Request("x = (", "", max_tokens=99_999))
    text, spent = "", []
    for _ in range(2000):
        text += "a + b\n"
        started = time.process_time()
        stopper.feed(text)
        spent.append(time.process_time() - started)
    assert sum(spent[1000:]) < 20 * sum(spent[:1000]) + 0.1


def test_characters_split_over_tokens_appear_whole() -> None:
    stream = Utf8Stream()
    seen = [stream.feed(bytes([byte])) for byte in "é😀".encode()]
    assert seen == ["", "é", "é", "é", "é", "é😀"]
    assert Utf8Stream().feed(b"a\xffb") == "a\ufffdb"


@given(
    st.text(max_size=60),
    st.text(max_size=60),
    st.text(max_size=60),
    st.sampled_from(["a.py", "a.js", "a.rs", ""]),
)
def test_any_text_keeps_a_beginning_of_itself(prefix: str, generated: str, suffix: str, path: str) -> None:
    for stop_at in ("line", "statement", "block"):
        verdict = stop(prefix, generated, suffix=suffix, path=path, stop_at=stop_at)
        assert generated.startswith(verdict.text)


@given(
    st.text(alphabet="()[]{}\"'`#/*\\\n ab", max_size=80),
    st.sampled_from(["python", "javascript", "rust", ""]),
)
def test_brackets_are_followed_alike_in_any_pieces(text: str, language: str) -> None:
    whole = balance(text, language)
    half = balance(text[: len(text) // 2], language)
    half.feed(text[len(text) // 2 :])
    assert (whole.open, whole.string, whole.comment) == (half.open, half.string, half.comment)
