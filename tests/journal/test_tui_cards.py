"""Cards that show where their symbol is used."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from journal.document import Journal
from journal.resolvers.places import Place, Places
from journal.tui.blocks import cell_rows
from journal.tui.blocks.reference import MOST_PLACES
from journal.tui.blocks.view import View
from journal.tui.theme import DARK, palette
from tests.journal.tui_person import opened

TEXT = """---
journal: 1
title: Sending
---

<!-- journal:{"id":"u001","kind":"source","src":"up.py","symbol":"send"} -->
[up.py: send](up.py)

<!-- journal:{"id":"u002","kind":"source","src":"up.py"} -->
[up.py](up.py)
"""
SOURCE = "def send(data):\n    return data\n\n\nprint(send(1))\n"


@pytest.fixture
def journal(tmp_path: Path, isolated_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / ".git").mkdir()
    (tmp_path / "up.py").write_text(SOURCE)
    path = tmp_path / "work.journal.md"
    path.write_text(TEXT)
    monkeypatch.chdir(tmp_path)
    return path


async def test_a_card_shows_where_its_symbol_is_used_and_follows_the_file(journal: Path) -> None:
    async with opened(journal) as person:
        await person.goes_to("u001")
        assert "print(send(1))" not in person.sees()
        await person.presses("o")
        await person.waits(lambda: "print(send(1))" in person.sees(), "the uses")
        assert re.search(r"defined +1 +def send\(data\):", person.sees())
        assert re.search(r"used +5 +print\(send\(1\)\)", person.sees())
        (journal.parent / "up.py").write_text(SOURCE + "more = send\n")
        await person.waits(lambda: "more = send" in person.sees(), "the new use")
        await person.presses("o")
        assert "more = send" not in person.sees()


async def test_a_card_without_a_symbol_says_that_it_has_no_uses(journal: Path) -> None:
    async with opened(journal) as person:
        await person.goes_to("u002")
        await person.presses("o")
        await person.waits(lambda: "only a card of a symbol" in person.sees(), "the notice")
        assert person.screen.facts.unfolded == set()


@pytest.mark.parametrize("width", [30, 60, 120])
def test_places_fit_the_card_whatever_stands_there(width: int) -> None:
    colours = palette(DARK.to_color_system().generate(), dark=True)
    cell = Journal.parse(TEXT.encode()).cell("u001")
    lines = tuple(
        Place("used", 900 + n, f"\x1b[31m\u202eprint(send({n}), '漢字{'x' * 90}')") for n in range(40)
    )
    found = Places("up.py", "python", (Place("defined", 7, "def send():"), *lines))
    rows = cell_rows(View(cell, places=found, unfolded=True), width, colours)
    shown = [row.text.plain.rstrip() for row in rows]
    assert len(rows) == 2 + MOST_PLACES + 1
    assert shown[2].split() == ["defined", "7", "def", "send():"]
    assert shown[3].split()[:2] == ["used", "900"]
    assert shown[4].split()[0] == "901"
    assert shown[-1].strip() == f"and {41 - MOST_PLACES} more lines"
    assert all(row.text.cell_len <= width for row in rows)
    assert not any("\x1b" in line or "\u202e" in line for line in shown)
    folded = cell_rows(View(cell, places=found), width, colours)
    assert len(folded) == 2


async def test_a_symbol_that_is_gone_says_so(journal: Path) -> None:
    (journal.parent / "up.py").write_text("def sent(): ...\n")
    async with opened(journal) as person:
        await person.goes_to("u001")
        await person.presses("o")
        await person.waits(lambda: person.screen.facts.places, "what was looked up")
        assert person.sees().count("no symbol send") == 1
