"""Files looked at again: the same analysis as from scratch, from what changed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.usedef import analyse
from engine.usedef.document import Document
from engine.usedef.recent import Recent, change

FIRST = "import os\n\ndef f(a):\n    return a, os\n"
THEN = "import os\n\ndef f(a):\n    b = a\n    return b, os\n"


def test_a_file_looked_at_again_is_edited_not_read_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    recent = Recent()
    with recent.analysis("a.py", "python", FIRST) as found:
        assert found is not None
    monkeypatch.setattr("engine.usedef.recent.Document", made.append)
    with recent.analysis("a.py", "python", THEN) as again:
        assert again is not None
        assert again.edges == analyse(THEN, "python").edges
    with recent.analysis("a.py", "python", THEN) as same:
        assert same is again
    assert made == []


def test_so_many_files_are_kept() -> None:
    recent = Recent(kept=2)
    for path in ("a.py", "b.py", "a.py", "c.py"):
        with recent.analysis(path, "python", FIRST) as found:
            assert found is not None
    assert [path for path, _ in recent._documents] == ["a.py", "c.py"]


def test_a_file_that_cannot_be_parsed_in_time_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def never(source: str, language: str) -> Document:
        asked.append(source)
        document = Document(source, language)
        monkeypatch.setattr(document.analysis, "_source", document.analysis._source._replace(tree=None))
        return document

    monkeypatch.setattr("engine.usedef.recent.Document", never)
    recent = Recent()
    for _ in range(3):
        with recent.analysis("a.py", "python", FIRST) as found:
            assert found is None
    assert asked == [FIRST]


@given(st.text("ab\n", max_size=20), st.text("ab\n", max_size=20))
def test_a_change_is_one_edit(before: str, after: str) -> None:
    start, end, text = change(before, after)
    assert before[:start] + text + before[end:] == after
    assert 0 <= start <= end <= len(before)
