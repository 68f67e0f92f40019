"""`steerway status` beside an engine that runs: it tells how documents are reused, and which are encoded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.documents import Document
from engine.models import digest, provision
from engine.open import wanted
from engine.request import Request
from engine.settings import load
from journal.commands.root import run
from tests.engine.service_home import client_of, home

__all__ = ["home"]
pytestmark = pytest.mark.model

JOURNAL = """---
journal: 1
---

<!-- journal:{"id":"s001","kind":"step"} -->
## Mend

<!-- journal:{"id":"n001","kind":"source","src":"ledger.py"} -->
"""


@pytest.fixture
def folder(home: Path, tmp_path: Path, small_model: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STEERWAY_MODEL", str(small_model))
    (tmp_path / "work/.git").mkdir(parents=True)
    (tmp_path / "work/mend.journal.md").write_text(JOURNAL)
    (tmp_path / "work/ledger.py").write_text("def enter(amount_cents, memo):\n    ...\n")
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def status(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    assert run(["status", "--json"]) == 0
    engine: dict[str, object] = json.loads(capsys.readouterr().out)["engine"]
    return engine


def test_without_one_it_says_how_it_would_be(folder: Path, capsys) -> None:
    said = status(capsys)
    assert said["running"] is False
    assert said["documents"] == []
    assert said["reuse"]["mode"] in ("documents", "prefix")
    assert said["reuse"]["heads"]["given"] == {}


@pytest.mark.parametrize(
    ("heads", "line"),
    [
        ("auto", "heads      off: no kind is on by default; change of NLL in nats a token: dormant "),
        ("dormant", "heads      1 dormant: the setting heads is dormant"),
        ("off", "heads      off: the setting heads is off"),
    ],
)
def test_it_says_which_heads_are_given_and_why(
    folder: Path, capsys, monkeypatch: pytest.MonkeyPatch, heads: str, line: str
) -> None:
    monkeypatch.setenv("STEERWAY_HEADS", heads)
    digest.of(provision.locate(load().model))
    assert run(["status"]) == 0
    assert [each for each in capsys.readouterr().out.splitlines() if each.startswith(line)]


def test_with_one_it_says_how_it_is(folder: Path, capsys) -> None:
    with client_of(wanted(None, load())) as client:
        hole = Request(
            prefix="def refund(book):\n    book.", suffix="\n", documents=(Document("a.py", "x = 1\n"),)
        )
        client.submit(hole).future.result(120)
        said = status(capsys)
    assert said["running"] is True
    assert said["reuse"]["mode"] in ("documents", "prefix")
    assert [document["name"] for document in said["documents"]] == ["ledger.py"]
