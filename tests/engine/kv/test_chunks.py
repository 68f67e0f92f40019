"""Chunks: a text's own content decides where it is cut, so that an edit elsewhere moves no cut."""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import grammars
from engine.kv import chunks

ROOT = Path(__file__).parents[3]
LINES = st.lists(
    st.sampled_from(
        ["def f(x):", "    return x", "", "}", "# note", "## Title", "x = [1,", "\t\tcall()", "é", "@a"]
    )
    | st.text(st.characters(exclude_characters="\n"), max_size=40),
    max_size=400,
)


@cache
def source() -> str:
    """3,000 lines of real code."""
    files = sorted((ROOT / "engine").glob("*/*.py"))
    text = "".join(path.read_text("utf-8") for path in files)
    return "".join(text.splitlines(keepends=True)[:3000])


def test_a_text_is_cut_before_what_begins_something() -> None:
    functions = [f"def function_{i}(argument):\n" + "    print(argument, 1, 2)\n" * 12 for i in range(20)]
    found = chunks.split("\n\n".join(functions))
    assert len(found) == 20
    assert all(chunk.startswith("def function_") for chunk in found)


@settings(max_examples=60, deadline=None)
@given(LINES, st.sampled_from(["\n", "\r\n", "\r"]), st.booleans())
def test_chunks_joined_are_the_text(lines: list[str], end: str, ended: bool) -> None:
    text = end.join(lines) + (end if ended else "")
    found = chunks.split(text)
    assert "".join(found) == text
    assert all(found)
    assert [chunk for chain in chunks.chains(text) for chunk in chain] == list(found)


@settings(max_examples=60, deadline=None)
@given(LINES)
def test_a_line_is_cut_only_when_it_is_too_long_itself(lines: list[str]) -> None:
    assert all(chunk.endswith("\n") for chunk in chunks.split("".join(f"{line}\n" for line in lines)))


@settings(max_examples=60, deadline=None)
@given(LINES)
def test_chunks_of_lines_are_neither_too_long_nor_too_short(lines: list[str]) -> None:
    found = chunks.split("".join(f"{line}\n" for line in lines))
    sizes = [chunks.estimate(chunk.removesuffix("\n")) for chunk in found]
    assert all(size <= chunks.MOST_TOKENS for size in sizes)
    assert len(sizes) < 2 or all(size >= chunks.LEAST_TOKENS for size in sizes)


def test_one_long_line_is_cut_at_a_fixed_length() -> None:
    found = chunks.split("x = '" + "ab1 " * 250_000 + "'")
    assert {len(chunk) for chunk in found[:-1]} == {chunks.LINE_CHARACTERS}
    assert chunks.split("short\n" * 3) == ("short\n" * 3,)
    assert chunks.split("") == ()
    mixed = chunks.split("a = 1\n" + "z" * 4000 + "\nb = 2\n")
    assert mixed[0] == "a = 1\n"
    assert mixed[-1] == "b = 2\n"


def test_a_text_made_to_be_slow_is_not() -> None:
    """Long blanks inside a line, a staircase of indentations, nothing but closing brackets: all are cut."""
    stairs = "".join(" " * (i % 4000) + f"x{i}\n" for i in range(4000))
    for text in ("a" + " " * 200_000 + "b\n", stairs, "}\n" * 50_000, "\n" * 50_000, "# x\n" * 50_000):
        assert "".join(chunks.split(text)) == text


def test_a_long_text_is_several_chains_of_whole_chunks() -> None:
    found = chunks.chains(source(), chain_tokens=1024)
    sizes = [chunks.estimate("".join(chain)) for chain in found]
    assert max(sizes) <= 1025
    assert min(sizes) >= 128
    assert chunks.chains("x = 1\n") == (("x = 1\n",),)


def lost(before: tuple[str, ...], after: tuple[str, ...]) -> int:
    """How many of the chunks are no longer there."""
    return sum(chunk not in set(after) for chunk in before)


def test_an_edit_changes_the_chunks_next_to_it_and_no_others() -> None:
    text, rng = source(), random.Random(5)
    before = chunks.split(text)
    assert len(before) > 150
    words = [
        "x",
        "",
        "\n",
        "\n\n\n",
        "    return None\n",
        "def g():\n    pass\n",
        '"""',
        "(",
        "# note\n",
        "}",
    ]
    counts = []
    for _ in range(120):
        at = rng.randrange(len(text))
        edited = text[:at] + rng.choice(words) + text[at + rng.choice([0, 0, 1, 5, 80]) :]
        counts.append(lost(before, chunks.split(edited)))
    assert sum(counts) / len(counts) < 1.5
    assert max(counts) <= 8
    assert sum(count <= 2 for count in counts) / len(counts) > 0.9


@pytest.mark.parametrize("added", ["import os\n", "# Copyright\n" * 30, "x = 1\n" * 200, "\n"])
def test_lines_added_at_the_top_move_no_cut_far_below(added: str) -> None:
    before, after = chunks.split(source()), chunks.split(added + source())
    assert lost(before, after) <= 2
    assert after[-150:] == before[-150:]


def test_half_a_file_keeps_its_chunks() -> None:
    text = source()
    half = text[text.index("\n\n\ndef ", len(text) // 2) + 3 :]
    assert lost(chunks.split(half), chunks.split(text)) <= 2


def test_typing_a_line_hardly_ever_moves_a_cut() -> None:
    """At most one keystroke in 30 changes a chunk that the cursor is not in."""
    rng = random.Random(3)
    lines = source().split("\n")
    moved = keys = 0
    for index in rng.sample([i for i, line in enumerate(lines) if 20 < len(line.strip()) < 80], 8):
        above, below = (
            "\n".join(lines[max(0, index - 150) : index]) + "\n",
            "\n".join(lines[index + 1 :][:150]),
        )
        known: set[str] = set()
        for end in range(len(lines[index]) - len(lines[index].lstrip()), len(lines[index]) + 1):
            chunk_starts, others = 0, set()
            for chunk in chunks.split(f"{above}{lines[index][:end]}\n{below}"):
                if not chunk_starts <= len(above) < chunk_starts + len(chunk):
                    others.add(chunk)
                chunk_starts += len(chunk)
            keys += 1
            moved += bool(known - others)
            known = others
    assert keys > 200
    assert moved / keys < 1 / 30


SNIPPETS = {
    "javascript": "export function name{i}(a) {{\n  if (a) {{\n    log({i});\n  }}\n  return b;\n}}\n\n",
    "rust": "#[test]\nfn name{i}() {{\n    let a = {i};\n    assert_eq!(a, {i});\n}}\n\n",
    "go": "// Name{i} does it.\nfunc Name{i}(a int) int {{\n\tb := a + {i}\n\treturn b\n}}\n\n",
    "java": "    /**\n     * It.\n     */\n    public int name{i}(int a) {{\n        return a;\n    }}\n\n",
    "bash": 'name{i}() {{\n  local a={i}\n  echo "$a"\n}}\n\n',
    "markdown": "## Part {i}\n\nSome words about it, and a list:\n\n* one\n* two\n\n",
    "plain": "Paragraph {i} of a text that nobody marked up.\nIt has a second line.\n\n",
}


@pytest.mark.parametrize("name", SNIPPETS)
def test_every_language_is_cut_where_something_begins(name: str) -> None:
    """Comments and attributes stay with what they describe."""
    first = SNIPPETS[name].splitlines(keepends=True)[0]
    text = "".join(SNIPPETS[name].format(i=i) for i in range(80))
    found = chunks.split(text)
    starts = {first.format(i=i) for i in range(80)}
    assert len(found) > 5
    assert all(chunk.splitlines(keepends=True)[0] in starts for chunk in found)


def test_cuts_are_the_starts_of_syntax_nodes() -> None:
    """Checked against tree-sitter: hardly a cut is inside a string or a statement that is short."""
    inside = cuts = 0
    for path in sorted((ROOT / "engine").glob("*/*.py"))[:40]:
        text = path.read_text("utf-8")
        tree = grammars.parse(text.encode(), "python")
        assert tree is not None
        row = 0
        for chunk in chunks.split(text)[:-1]:
            row += chunk.count("\n")
            cuts += 1
            node = tree.root_node.descendant_for_point_range((row - 1, 10**6), (row, 0))
            while node is not None and node.type not in {
                "module",
                "block",
                "class_definition",
                "function_definition",
            }:
                if node.end_point.row > row - 1 and node.start_point.row < row:
                    inside += chunks.estimate((node.text or b"").decode()) < chunks.MOST_TOKENS // 2
                    break
                node = node.parent
    assert cuts > 150
    assert inside / cuts < 0.1


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=3000), st.integers(2, 40))
def test_any_text_is_cut_into_its_own_pieces(text: str, times: int) -> None:
    assert "".join(chunks.split(text * times)) == text * times
