"""Positions and changes, in every encoding an editor may choose."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsp.text import Encoding, Text, for_model, units

ENCODINGS: tuple[Encoding, ...] = ("utf-8", "utf-16", "utf-32")
texts = st.text(st.sampled_from("ab\té\u2028\x0c🎉𝄞\r\n"), max_size=40)


@pytest.mark.parametrize(("encoding", "character"), [("utf-8", 7), ("utf-16", 5), ("utf-32", 4)])
def test_a_position_counts_units_of_its_encoding(encoding: Encoding, character: int) -> None:
    text = Text('x="😋"')
    assert text.offset(0, character, encoding) == 4
    assert text.position(4, encoding) == (0, character)


@given(texts, st.sampled_from(ENCODINGS))
def test_every_offset_comes_back(value: str, encoding: Encoding) -> None:
    text = Text(value)
    for offset in range(len(value) + 1):
        if value[offset - 1 : offset + 1] == "\r\n":
            continue  # between the two there is no position
        assert text.offset(*text.position(offset, encoding), encoding) == offset


@given(texts, st.sampled_from(ENCODINGS))
def test_units_are_those_of_the_codec(value: str, encoding: Encoding) -> None:
    codec, size = {"utf-8": ("utf-8", 1), "utf-16": ("utf-16-le", 2), "utf-32": ("utf-32-le", 4)}[encoding]
    assert units(value, encoding) == len(value.encode(codec)) // size


@given(texts, st.integers(-3, 60), st.integers(-3, 60), st.sampled_from(ENCODINGS))
def test_no_position_is_an_error(value: str, line: int, character: int, encoding: Encoding) -> None:
    text = Text(value)
    offset = text.offset(line, character, encoding)
    assert 0 <= offset <= len(value)
    assert value[offset - 1 : offset + 1] != "\r\n"


def test_a_position_inside_a_character_is_before_it() -> None:
    assert Text("a🎉b").offset(0, 2, "utf-16") == 1
    assert Text("aéb").offset(0, 2, "utf-8") == 1


def test_lines_end_at_the_three_line_ends_only() -> None:
    text = Text("a\nb\r\nc\rd\x0be\x0cf\x1cg\x85h\u2028i\n")
    assert [text.line(number) for number in range(text.line_count)] == [
        "a", "b", "c", "d\x0be\x0cf\x1cg\x85h\u2028i", "",
    ]  # fmt: skip


@given(texts, texts, st.data())
def test_a_change_replaces_what_lies_between(value: str, new: str, data: st.DataObject) -> None:
    text = Text(value)
    first = data.draw(st.integers(0, len(value)))
    last = data.draw(st.integers(first, len(value)))
    start, end = text.position(first, "utf-16"), text.position(last, "utf-16")
    first, last = text.offset(*start, "utf-16"), text.offset(*end, "utf-16")
    assert text.changed(start, end, new, "utf-16").value == value[:first] + new + value[last:]


def test_a_change_backwards_or_past_the_end_is_tolerated() -> None:
    assert Text("abc").changed((0, 2), (0, 1), "X", "utf-8").value == "abXc"
    assert Text("abc").changed((7, 7), (9, 9), "X", "utf-8").value == "abcX"


def test_what_the_model_reads_has_one_kind_of_line_end_and_no_lone_surrogate() -> None:
    assert for_model("a\r\nb\rc\nd\ud800") == "a\nb\nc\nd\ufffd"
    assert Text("a\r\nb").line_end == "\r\n"
    assert Text("a").line_end == "\n"
