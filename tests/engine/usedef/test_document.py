"""A text being edited says the same as one read from scratch."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.errors import UsageError
from engine.usedef import LANGUAGES, Analysis, Document, analyse
from engine.usedef.languages import RULES
from engine.usedef.parts import Parts
from tests.engine.usedef import fuzz

SOURCE = """\
import os

def first(path):
    data = os.read(path)
    return data

class Up:
    def send(self, item):
        return first(item)
"""


def test_a_keystroke_moves_what_is_behind_it() -> None:
    document = Document(SOURCE, "python")
    analysis = document.edit(0, 0, "import sys\n")

    assert document.source == "import sys\n" + SOURCE
    assert analysis.edges == analyse(document.source, "python").edges
    assert analysis.hole == len("import sys\n")


def test_typing_a_statement_offers_names_at_every_key() -> None:
    start = at = SOURCE.index("    return data")
    document = Document(SOURCE[:at] + "\n" + SOURCE[at:], "python")
    for key in "    more = first(data, [os.path, (":
        analysis = document.edit(at, at, key)
        at += 1
        if at > start + 3:  # as far as the function's body is indented
            assert {"path", "data", "os", "first", "Up"} <= {name.text for name in analysis.names_at()}
    assert {name.text for name in analysis.needed_at()} == {"data", "os", "first"}


def test_names_of_a_broken_statement_come_from_before_it_broke() -> None:
    document = Document(SOURCE, "python")
    start = SOURCE.index("def first")
    document.edit(start, start, "((( = } {{ ")
    broken = document.edit(start, start, "def (")
    place = broken.source.index("    return data")
    names = {name.text: name for name in broken.names_at(place)}

    assert {"path", "data"} <= set(names)
    for name in names.values():
        assert all(broken.source[one.start : one.end] == name.text for one in name.definitions)


def test_an_edit_outside_of_the_text_is_refused() -> None:
    with pytest.raises(ValueError, match="no characters 3 to 9"):
        Document("x = 1", "python").edit(3, 9, "")
    with pytest.raises(UsageError, match="no scope analysis for cobol"):
        Document("x", "cobol")


def afresh(analysis: Analysis, language: str) -> Analysis:
    """The same tree, read with nothing remembered."""
    return Analysis(analysis._source, language, Parts(RULES[language]))


def same(document: Document, language: str) -> None:
    analysis = document.analysis
    fresh = afresh(analysis, language)
    assert analysis.edges == fresh.edges
    if not analysis.damaged and not analysis._source.inserted:
        assert analysis.edges == analyse(document.source, language).edges
    for offset in range(0, len(document.source) + 1, 97):
        names = fresh.names_at(offset)
        remembered = analysis.names_at(offset)[len(names) :]
        assert analysis.names_at(offset)[: len(names)] == names
        assert analysis.damaged or not remembered
    fuzz.check(analysis, document.source)


@pytest.mark.parametrize("language", LANGUAGES)
@settings(max_examples=8, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_after_random_edits_it_is_as_from_scratch(language: str, data: st.DataObject) -> None:
    document = Document(fuzz.texts()[language], language)
    pieces = st.sampled_from([*fuzz._WORDS, "x", " ", "\n", "\n    ", "é", "𝑥 = x\n", "(x", ");"])
    for _ in range(data.draw(st.integers(1, 5))):
        length = len(document.source)
        start = data.draw(st.integers(0, length))
        end = min(length, start + data.draw(st.sampled_from([0, 0, 0, 1, 5, 60])))
        document.edit(start, end, data.draw(pieces))
        same(document, language)


def test_whole_files_typed_and_deleted() -> None:
    text = SOURCE[:120]
    document = Document("", "python")
    for index, key in enumerate(text):
        document.edit(index, index, key)
    same(document, "python")
    for index in reversed(range(len(text))):
        document.edit(index, index + 1, "")
    assert document.analysis.edges == ()
    assert document.source == ""
