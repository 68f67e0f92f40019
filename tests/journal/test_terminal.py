"""Terminal output becomes text that is safe to show: colours stay, progress is resolved, tricks go."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journal.run.escapes import strip
from journal.run.line import resolve
from journal.run.terminal import Cleaner, clean

RED = "\x1b[31mred\x1b[0m"


def test_plain_text_and_colours_pass() -> None:
    assert clean(b"one\r\ntwo\r\n") == "one\ntwo\n"
    assert (
        clean(f"{RED} and \x1b[1;38;5;208mmore\x1b[m\r\n".encode())
        == f"{RED} and \x1b[1;38;5;208mmore\x1b[m\n"
    )


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("10%\r20%\r100%\r\n", "100%\n"),
        ("long line\rshort\r\n", "shortline\n"),
        ("long line\r\x1b[Kshort\r\n", "short\n"),
        ("long line\x1b[2K\rshort\r\n", "short\n"),
        ("abc\b\bX\r\n", "aXc\n"),
        ("ab\x1b[5Dxy\r\n", "xy\n"),
        ("ab\x1b[10Gz\r\n", "ab       z\n"),
        ("abcdef\r\x1b[2Pg\r\n", "gdef\n"),
        ("a\tb\bc\r\n", "a       c\n"),
        ("\x1b[31mred\x1b[0m\rR\r\n", "\x1b[0mR\x1b[0m\x1b[31med\x1b[0m\n"),
        ("done\x1b[J\r\n", "done\n"),
        ("a\r\r\nb\r\n", "a\nb\n"),
    ],
)
def test_a_line_is_left_as_a_terminal_would_leave_it(raw: str, shown: str) -> None:
    assert clean(raw.encode()) == shown


@pytest.mark.parametrize(
    "hostile",
    [
        "\x1b]0;title\x07",
        "\x1b]0;title\x1b\\",
        "\x1b]52;c;ZXZpbA==\x07",
        "\x1b]8;;https://example.org\x1b\\",
        "\x1b[c",
        "\x1b[>c",
        "\x1b[6n",
        "\x1b[5n",
        '\x1bP$q"p\x1b\\',
        "\x1bP+q544e\x1b\\",
        "\x1b_Gpayload\x1b\\",
        "\x1b^private\x1b\\",
        "\x1bXstring\x1b\\",
        "\x1b[?2004h",
        "\x1b[?1000h",
        "\x1b[?25l",
        "\x1b[21t",
        "\x1b[1;31!p",
        "\x1b[4 q",
        "\x1b(0",
        "\x1b=",
        "\x1b#8",
        "\x07",
        "\x00\x01\x05\x0e\x0f\x7f",
        "\x9b31m",
        "\x9d52;c;ZXZpbA==\x9c",
    ],
)
def test_nothing_can_reprogram_the_terminal(hostile: str) -> None:
    shown = clean(f"before{hostile}after\r\n".encode())
    assert shown.startswith("before")
    assert shown.endswith("after\n")
    assert not any(control in shown for control in "\x1b\x07\x00\x05\x0e\x7f\x9b\x9d")


def test_a_string_that_never_ends_swallows_its_line_only() -> None:
    assert clean(b"\x1b]0;no end\r\nnext\r\n").splitlines()[-1] == "next"
    flood = b"\x1bP" + b"x" * 100_000
    cleaner = Cleaner()
    assert cleaner.feed(flood).text == ""
    assert (cleaner.feed(b"y\x1b\\end\r\n").text) == "end\n"


def test_an_unfinished_line_is_the_tail_until_it_is_done() -> None:
    cleaner = Cleaner()
    assert cleaner.feed(b"one\r\n50%").tail == "50%"
    chunk = cleaner.feed(b"\r75%")
    assert (chunk.text, chunk.tail) == ("", "75%")
    chunk = cleaner.feed(b"\r100%\r\n")
    assert (chunk.text, chunk.tail) == ("100%\n", "")


def test_a_split_anywhere_changes_no_text() -> None:
    raw = f"a\x1b[1mé✓{RED}\r\n10%\r20%\r\n\x1b]0;t\x1b\\x\r\n\x1b[2K\rlast".encode()
    whole = strip(clean(raw))
    for cut in range(len(raw)):
        cleaner = Cleaner()
        first, second = cleaner.feed(raw[:cut]), cleaner.feed(raw[cut:])
        assert strip(first.text + second.text + cleaner.finish().text) == whole


def test_cursor_moves_over_lines_are_emulated() -> None:
    raw = b"title\r\na: 0%\r\nb: 0%\r\n\x1b[2A\x1b[2Ka: 100%\r\n\x1b[2Kb: 100%\r\nend\r\n"
    assert clean(raw) == "title\na: 100%\nb: 100%\nend\n"


def test_lines_that_were_said_are_taken_back_when_they_change() -> None:
    cleaner = Cleaner()
    assert cleaner.feed(b"title\r\na: 0%\r\nb: 0%\r\n").text == "title\na: 0%\nb: 0%\n"
    chunk = cleaner.feed(b"\x1b[2A\x1b[2Ka: 9%\r\n")
    assert (chunk.rewind, chunk.text) == (2, "")
    assert chunk.tail.startswith("a: 9%\nb: 0%")
    assert cleaner.finish().text == "a: 9%\nb: 0%\n"


def test_a_full_screen_leaves_no_trace() -> None:
    cleaner = Cleaner()
    cleaner.feed(b"before\r\n\x1b[?1049h\x1b[H\x1b[2Jeditor")
    assert cleaner.full_screen
    assert "editor" in cleaner.feed(b"!").tail
    after = cleaner.feed(b"\x1b[?1049lafter\r\n")
    assert not cleaner.full_screen
    assert (after.text + cleaner.finish().text).strip() == "after"


def test_plain_text_after_a_screen_is_fast_again() -> None:
    cleaner = Cleaner()
    cleaner.feed(b"\x1b[5;5Hx")
    flood = b"".join(b"line %d\r\n" % number for number in range(20_000))
    text = cleaner.feed(flood).text
    assert text.endswith("line 19998\nline 19999\n")
    assert text.count("\n") >= 20_000


def test_what_scrolls_off_an_emulated_screen_is_kept() -> None:
    cleaner = Cleaner(rows=5)
    text = "".join(cleaner.feed(b"\x1b[1A\x1b[1Bline %d\r\n" % number).text for number in range(30))
    lines = (text + cleaner.finish().text).split()
    assert lines[-2:] == ["line", "29"]
    assert "7" in lines


def test_a_line_without_end_is_handed_on() -> None:
    cleaner = Cleaner()
    total = sum(len(cleaner.feed(b"x" * 50_000).text) for _ in range(10)) + len(cleaner.finish().text)
    assert total == 500_000


def test_bytes_that_are_not_text_are_marked() -> None:
    assert clean(b"\xff\xfeok \xe2\x82") == "\ufffd\ufffdok \ufffd"


def test_only_colours_are_left_of_any_bytes() -> None:
    @given(st.binary(max_size=300), st.integers(0, 300))
    def check(data: bytes, cut: int) -> None:
        cleaner = Cleaner(rows=5, columns=20)
        chunks = [cleaner.feed(data[:cut]), cleaner.feed(data[cut:]), cleaner.finish()]
        for chunk in chunks:
            for text in (strip(chunk.text), strip(chunk.tail)):
                assert not any((ord(c) < 32 and c not in "\n\t\r") or 0x7F <= ord(c) < 0xA0 for c in text)

    check()


@given(st.text(alphabet="ab\r\b \x1b[KD2m31", max_size=40))
def test_resolving_a_line_never_fails(line: str) -> None:
    shown, column, width = resolve(line)
    assert "\r" not in shown
    assert 0 <= column <= 4200
    assert width >= 0
