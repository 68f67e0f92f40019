"""Cells as rows: any bytes can be drawn, nothing is wider than its place, nothing speaks to the terminal."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from journal.document import Journal
from journal.run.result import Output
from journal.session.output import Lines
from journal.tui.blocks import cell_rows, estimated_rows
from journal.tui.blocks.output import output_rows
from journal.tui.blocks.view import View
from journal.tui.facts import Facts
from journal.tui.pointing import from_text
from journal.tui.theme import DARK, Palette, palette

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e]")


@pytest.fixture(scope="session")
def colours() -> Palette:
    return palette(DARK.to_color_system().generate(), dark=True)


def test_a_code_cell_is_a_line_about_it_and_its_code(colours: Palette) -> None:
    journal = Journal.parse(b'```python {"name":"sum"}\nfor n in (1, 2):\n    print(n)\n```\n')
    rows = cell_rows(View(journal.cells[0]), 40, colours)
    assert [row.text.plain.rstrip() for row in rows] == ["python  sum", " for n in (1, 2):", "     print(n)"]
    keyword = next(span for span in rows[1].text.spans if rows[1].text.plain[span.start : span.end] == "for")
    assert keyword.style == colours.keyword


def test_a_note_is_laid_out(colours: Palette) -> None:
    source = b"# Title\n\nSome words that are **long** enough to wrap.\n\n- one\n- two\n\n> said\n"
    rows = cell_rows(View(Journal.parse(source).cells[0]), 24, colours)
    assert [row.text.plain.rstrip() for row in rows] == [
        "Title", "", "Some words that are long", "enough to wrap.", "", "• one", "• two", "", "▎ said",
    ]  # fmt: skip


@pytest.mark.parametrize("width", [8, 30, 100])
def test_any_bytes_can_be_drawn_at_any_width(
    journal_bytes: st.SearchStrategy[bytes], colours: Palette, width: int
) -> None:
    @settings(max_examples=100)
    @given(journal_bytes)
    def draw(data: bytes) -> None:
        journal, facts = Journal.parse(data), Facts()
        for cell in journal.cells:
            rows = cell_rows(facts.view(cell, journal, None, current=False), width, colours)
            assert rows
            assert estimated_rows(cell, width) >= 1
            assert not any(CONTROL.search(row.text.plain) for row in rows)
            if width >= 30:
                assert all(row.text.cell_len <= width for row in rows), cell

    draw()


@given(st.text(max_size=60), st.integers(4, 80))
def test_any_output_can_be_drawn(colours: Palette, text: str, width: int) -> None:
    lines = Lines()
    cell = Journal.parse(b"x").cells[0]
    lines.take(Output(cell, f"\x1b[31m{text}\x1b[0m\n\x1b]8;;https://example.org\x1b\\link\x1b]8;;\x1b\\"))
    for row in output_rows(lines, width, colours, unfolded=True):
        assert not CONTROL.search(row.text.plain)
        assert row.text.cell_len <= max(width, 4)


@pytest.mark.parametrize(
    ("typed", "src", "lines", "symbol"),
    [
        ("docs/a.md", "docs/a.md", None, None),
        ("docs/a.md:3-9", "docs/a.md", "3-9", None),
        ("docs/a.md#L3", "docs/a.md", "3-3", None),
        (" src/up.py#Up.send ", "src/up.py", None, "Up.send"),
        ("pypi:httpx#httpx.Client", "pypi:httpx#httpx.Client", None, None),
        ("gh:acme/up#142", "gh:acme/up#142", None, None),
        ("https://example.org/a#b", "https://example.org/a#b", None, None),
    ],
)
def test_a_reference_is_typed_in_one_line(
    typed: str, src: str, lines: str | None, symbol: str | None
) -> None:
    assert from_text(typed) == {"src": src, "lines": lines, "symbol": symbol}
