"""Golden files: the cells of known journals. `STEERWAY_GOLDEN=1 pytest tests/journal` writes them anew."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from journal.document import Journal

CORPUS = sorted((Path(__file__).parent / "corpus").glob("*.journal.md"))


def summary(journal: Journal) -> dict[str, object]:
    """What a golden file holds: everything but the bytes, which are the journal's own."""
    cells = [
        {
            "kind": cell.kind,
            "id": cell.id,
            "name": cell.name,
            "title": cell.title,
            "line": cell.line,
            "code": cell.is_code,
            "key": cell.key,
            "bytes": len(cell.raw),
            "text": cell.text,
            "meta": dict(cell.meta),
        }
        for cell in journal.cells
    ]
    problems = [[problem.line, problem.message.split(" (")[0]] for problem in journal.problems]
    return {"title": journal.title, "front": journal.front, "problems": problems, "cells": cells}


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.name)
def test_golden(path: Path) -> None:
    data = path.read_bytes()
    journal = Journal.parse(data)
    found = summary(journal)
    golden = path.with_suffix(".json")
    if os.environ.get("STEERWAY_GOLDEN"):
        golden.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    assert found == json.loads(golden.read_text(encoding="utf-8"))
    assert b"".join(cell.raw for cell in journal.cells) == data


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.name)
def test_opening_and_saving_changes_no_byte(path: Path, tmp_path: Path) -> None:
    from journal import files

    copy = tmp_path / path.name
    copy.write_bytes(path.read_bytes())
    journal, stamp = files.read(copy)
    files.save(copy, journal, stamp)
    assert copy.read_bytes() == path.read_bytes()
