"""The byte rule: parsing loses nothing, for any bytes, in linear time; fences are where Markdown has them."""

from __future__ import annotations

import re
import sys
from types import FrameType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from mdit_py_plugins.front_matter import front_matter_plugin

from journal.document import Journal
from journal.scan import BOM, blocks

HOSTILE = {
    "newlines": b"\n",
    "carriage returns": b"\r",
    "letters": b"a",
    "short lines": b"a\n",
    "items": b"- a\n",
    "empty items": b"-\n",
    "deep items": b"- ",
    "deep quotes": b">",
    "nested quotes": b"> > > - x\n",
    "fences": b"```\n",
    "cells": b"```sh {}\n```\n",
    "growing fence": b"`",
    "markers": b"<!-- journal:{} -->\n",
    "open comments": b"<!-- journal:\n",
    "open tags": b"<a b ",
    "attributes": b"<a b='",
    "spaces": b" ",
    "tabs": b"\t",
    "spaced lines": b"  x\n",
    "conflict starts": b"<<<<<<< a\n",
    "conflicts": b"<<<<<<< a\nx\n=======\ny\n>>>>>>> b\n",
    "rules": b"- - - ",
    "underlines": b"a\n===\n",
    "front matter": b"---\n",
    "braces": b"```x {",
    "brackets": b'<!-- journal:{"a":[[[[',
    "bad UTF-8": b"\xff",
    "NULs": b"\0",
    "mixed": b"\r\n\n\r \t```~~~\n>>- 1. ",
}


def check(data: bytes) -> Journal:
    journal = Journal.parse(data)
    assert b"".join(cell.raw for cell in journal.cells) == data
    assert all(cell.raw for cell in journal.cells)
    assert [cell.index for cell in journal.cells] == list(range(len(journal.cells)))
    assert len({cell.key for cell in journal.cells}) == len(journal.cells)
    for cell in journal.cells:
        assert data[cell.start : cell.start + len(cell.raw)] == cell.raw
        assert 0 <= cell.body[0] <= cell.body[1] <= len(cell.raw)
        cell.text.encode()
        cell.title.encode()
    assert isinstance(journal.front, dict)
    assert all(problem.message and problem.line > 0 for problem in journal.problems)
    return journal


def test_the_cells_of_any_file_joined_are_the_file() -> None:
    data = b'\xef\xbb\xbf## caf\xe9\r\n```sh {"id":"a1"}\rls\n<<<<<<< HEAD\n<!-- journal:{"kind":"new"} -->\0'
    journal = Journal.parse(data)
    assert b"".join(cell.raw for cell in journal.cells) == data


@settings(max_examples=500)
@given(data=st.data())
def test_byte_rule(data: st.DataObject, journal_bytes: st.SearchStrategy[bytes]) -> None:
    check(data.draw(journal_bytes))


@pytest.mark.slow
@settings(max_examples=10_000, derandomize=False)
@given(data=st.data())
def test_byte_rule_at_length(data: st.DataObject, journal_bytes: st.SearchStrategy[bytes]) -> None:
    check(data.draw(journal_bytes))


@pytest.mark.parametrize("seed", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_input_of_half_a_megabyte(seed: bytes) -> None:
    """Would take minutes, and so run into the test's time limit, if any part were quadratic."""
    check(seed * (500_000 // len(seed)))


CONFLICT = b"<<<<<<< a\nx\n=======\ny\n>>>>>>> b\n"
LONG = {
    "title": (b"# a", b" ", b"x"),
    "step's heading": (b'<!-- journal:{"kind":"step"} -->\n# x', b" ", b"x"),
    "step's hashes": (b'<!-- journal:{"kind":"step"} -->\n# x', b" #", b"x"),
    "step's blank lines": (b'<!-- journal:{"kind":"step"} -->\n', b" \n\t", b""),
    "link": (b'<!-- journal:{"kind":"doc"} -->\n[', b"\\[", b""),
    "marked notes": (b"", b'<!-- journal:{"kind":"note"} -->\nx\n', b""),
    "one id": (b"", b'```sh {"id":"a"}\n```\n', b""),
    "info string": (b"```sh {}", b" ", b"x\n"),
    "code's spaces": (b"   ```sh {}\n", b" ", b"\n   ```\n"),
    "keys": (b"```sh {", b'"a":1,', b'"b":2}\n```\n'),
    "surrogates": (b'```sh {"a":"', b"\\ud800", b'"}\n```\n'),
    "nested conflicts": (b"", b"<<<<<<< a\nx\n=======\ny\n", b""),
    "conflict ends": (b"", b">>>>>>> a\n", b""),
    "half conflicts": (b"", b"<<<<<<< a\n=======\n", b""),
    "conflicts in code": (b"```sh {}\n", CONFLICT, b""),
    "conflicts that cut cells": (b"", b"<<<<<<< a\n```sh {}\n=======\n~~~py {}\n>>>>>>> b\n```\n", b""),
    "conflicts in items": (b"", b"- a\n" + CONFLICT, b""),
    "tags": (b"", b"<b>\n", b""),
    "HTML in items": (b"", b"- <!--\n", b""),
    "fences in items": (b"", b"- ```\n", b""),
    "lazy lines": (b"> > > > > > > >x\n", b"x\n", b""),
    "front matter": (b"---\n", b"- [\n", b"---\n"),
    "almost a rule": (b"", b"* * ", b"x"),
    "almost an underline": (b"a\n-", b" -", b"x"),
    "half characters": (b"", b"\xe2\x80", b""),
}


@pytest.mark.parametrize("parts", LONG.values(), ids=LONG.keys())
def test_long_input_of_half_a_megabyte(parts: tuple[bytes, bytes, bytes]) -> None:
    """As above, for what comes between a beginning and an end."""
    first, seed, last = parts
    check(first + seed * (500_000 // len(seed)) + last)


def calls(data: bytes) -> int:
    """How many functions, of Python's own too, are called to parse `data`."""
    count = 0

    def profile(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(profile)
    try:
        Journal.parse(data)
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize(
    "parts",
    [*((b"", seed, b"") for seed in HOSTILE.values()), *LONG.values()],
    ids=[*HOSTILE.keys(), *LONG.keys()],
)
def test_twice_the_input_is_twice_the_work(parts: tuple[bytes, bytes, bytes]) -> None:
    first, seed, last = parts
    small, large = (first + seed * (size // len(seed)) + last for size in (10_000, 20_000))
    assert calls(large) <= 2.2 * calls(small) + 200


def fences_here(data: bytes) -> list[tuple[int, int]]:
    return [(block.start, block.end) for block in blocks(data) if block.kind == "fence"]


def fences_of_oracle(data: bytes) -> list[tuple[int, int]]:
    """markdown-it-py's fences at the top level, as offsets."""
    starts = [0, *(match.end() for match in re.finditer(rb"\r\n?|\n", data))]
    starts += [len(data)] if starts[-1] != len(data) else []
    parser = MarkdownIt("commonmark", {"maxNesting": 100}).use(front_matter_plugin)
    tokens = parser.parse(data.decode("latin-1"))
    maps = [token.map for token in tokens if token.type == "fence" and token.level == 0 and token.map]
    return [(starts[first], starts[min(last, len(starts) - 1)]) for first, last in maps]


_DIFFER = re.compile(rb"\A---|^ {0,3}\[[^\]]*\]:|[\0\x0b\x0c\x1c-\x1f\x85\xa0]", re.M)
"""What the plug-in for front matter and the reference parser see differently, and no journal turns on."""


@settings(max_examples=500)
@given(data=st.data())
def test_fences_are_where_markdown_has_them(
    data: st.DataObject, tidy_bytes: st.SearchStrategy[bytes]
) -> None:
    check_fences(data.draw(tidy_bytes))


@pytest.mark.slow
@settings(max_examples=10_000, derandomize=False)
@given(data=st.data())
def test_fences_are_where_markdown_has_them_at_length(
    data: st.DataObject, tidy_bytes: st.SearchStrategy[bytes]
) -> None:
    check_fences(data.draw(tidy_bytes))


def check_fences(raw: bytes) -> None:
    if not _DIFFER.search(raw):
        assert fences_here(raw) == fences_of_oracle(raw)


@pytest.mark.parametrize(
    "text",
    [
        "```sh {}\nls\n```\n",
        "~~~~sh {}\n~~~\n```\n~~~~\n",
        "- item\n  ```sh {}\n  ls\n  ```\n",
        "- item\n\n  ```sh {}\n\nafter\n```sh {}\n```\n",
        "> ```sh {}\n> ls\n> ```\n",
        "> ```sh {}\nout\n```\n",
        "    ```sh {}\n    ls\n",
        "para\n    ```sh {}\n```sh {}\n",
        "<!--\n```sh {}\n-->\n```sh {}\n```\n",
        "<div>\n```sh {}\n```\n\n```sh {}\n```\n",
        "para\n<b>\n```sh {}\n```\n",
        "<b>\n```sh {}\n```\n",
        "1. one\n   ```\n2. two\n```sh {}\n",
        "-\n\n  ```sh {}\n  ```\n",
        "- - > - ```\n",
        "``` a`b {}\n```sh {}\n",
        "```sh {}\n ```` \n",
        "a\r```sh {}\rls\r```\rb\r",
        "---\ntitle: x\n---\n```sh {}\n",
        ">\t```sh {}\n-\t```\n\t```\n```sh {}\n",
    ],
)
def test_fences_of_known_hard_cases(text: str) -> None:
    assert fences_here(text.encode()) == fences_of_oracle(text.encode())


def test_front_matter_behind_a_byte_order_mark() -> None:
    journal = Journal.parse(BOM + b"---\ntitle: X\n---\n")
    assert [cell.kind for cell in journal.cells] == ["front"]
    assert journal.title == "X"
