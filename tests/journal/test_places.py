"""Where the symbol of a card is defined and used."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from journal.document import Journal
from journal.references import Reference, parse_reference
from journal.repl.session import Session
from journal.resolvers.places import Place, places
from journal.symbols import outline
from journal.workspace import Workspace

SOURCE = """\
class Up:
    def send(self, data):
        return self.again(data)

    def again(self, data):
        token = "AKIAIOSFODNN7EXAMPLE"; return Up, token, self.send

up = Up()
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / ".git").mkdir()
    (tmp_path / "up.py").write_text(SOURCE)
    return tmp_path


def reference(symbol: str = "", src: str = "up.py") -> Reference:
    meta = (
        f'{{"kind":"source","src":"{src}","symbol":"{symbol}"}}'
        if symbol
        else f'{{"kind":"source","src":"{src}"}}'
    )
    return parse_reference(Journal.parse(f"<!-- journal:{meta} -->\n[x](x)\n".encode()).cells[0])


def test_lines_of_a_symbol_with_their_text(root: Path) -> None:
    found = places(reference("Up"), root=root)
    assert (found.name, found.language, found.problem) == ("up.py", "python", "")
    assert [(place.how, place.line) for place in found.places] == [("defined", 1), ("used", 6), ("used", 8)]
    assert found.places[0] == Place("defined", 1, "class Up:")
    assert found.used == 2


def test_a_method_is_told_by_its_name_behind_a_dot_and_secrets_stay_out(root: Path) -> None:
    found = places(reference("Up.send"), root=root)
    assert [(place.how, place.line) for place in found.places] == [("defined", 2), ("reached", 6)]
    assert "AKIA" not in found.places[1].text
    assert "[redacted]" in found.places[1].text


def test_a_change_of_the_file_is_seen(root: Path) -> None:
    assert places(reference("up"), root=root).used == 0
    (root / "up.py").write_text("\n" + SOURCE + "print(up)\n")
    assert [place.line for place in places(reference("up"), root=root).places] == [9, 10]


@pytest.mark.parametrize(
    ("symbol", "src", "problem"),
    [
        ("", "up.py", "only a symbol of a file"),
        ("Up", "gh:acme/up#1", "only a symbol of a file"),
        ("Down", "up.py", "up.py: no symbol Down"),
        ("Up", "none.py", "none.py"),
        ("Up", "../up.py", "out of the workspace"),
    ],
)
def test_what_cannot_be_looked_up_is_one_line(root: Path, symbol: str, src: str, problem: str) -> None:
    found = places(reference(symbol, src), root=root)
    assert problem in found.problem
    assert "\n" not in found.problem
    assert found.places == ()


def test_a_language_without_scopes_still_has_symbols_but_no_uses(root: Path) -> None:
    (root / "up.sh").write_text("send() { echo; }\nsend\n")
    found = outline("send() { echo; }\n", "bash")
    assert found is not None
    assert [symbol.path for symbol in found.symbols] == ["send"]
    assert places(reference("send", "up.sh"), root=root).problem == "up.sh: uses are not known for bash"


def test_the_shell_shows_them_under_the_cell(root: Path, isolated_home: Path) -> None:
    path = root / "work.journal.md"
    path.write_text(
        '<!-- journal:{"id":"u001","kind":"source","src":"up.py","symbol":"up"} -->\n[up](up.py)\n'
    )
    out = io.StringIO()
    session = Session(path, Workspace.find(path), out=out)
    try:
        session.handle(":show u001")
    finally:
        session.close()
    shown = out.getvalue().splitlines()
    assert shown[-2:] == ["  defined  up.py:8  up = Up()", "  not used in this file"]
    assert not session.failed
