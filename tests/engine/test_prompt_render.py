"""How documents are rendered: repository files, comments of the edited file, docstrings."""

from __future__ import annotations

import ast

import pytest

from engine.documents import Document
from engine.prompt.layouts import DOCUMENT_LAYOUTS
from engine.prompt.render import lead_with_example, render

PAGE = """# Ledger 2.3

A book keeps money. Use `enter`.

```python
book.enter(amount_cents=1200, memo="rent")
```

Both parameters are required.
"""
LED = """# Ledger 2.3

```python
book.enter(amount_cents=1200, memo="rent")
```

A book keeps money. Use `enter`.

Both parameters are required.
"""
API = Document("docs/ledger.md", PAGE, "api")


def test_an_api_document_leads_with_its_example_below_its_title() -> None:
    assert render(API, layout="repo", language="python").text == LED


def test_other_documents_keep_their_order() -> None:
    ticket = Document("ticket.md", PAGE, "ticket")
    assert render(ticket, layout="repo", language="python").text == PAGE


def test_a_doctest_is_an_example_too() -> None:
    text = "Adds.\n\n>>> add(1,\n...     2)\n3\n\nMore.\n"
    assert lead_with_example(text) == ">>> add(1,\n...     2)\n3\n\nAdds.\n\nMore.\n"


@pytest.mark.parametrize("text", ["", "prose only\n", "# Title\n", "```\nnever closed\n"])
def test_without_an_example_nothing_moves(text: str) -> None:
    assert lead_with_example(text) == text


def test_as_comments_of_the_edited_file_s_language() -> None:
    rendered = render(API, layout="comments", language="javascript")
    assert rendered.inside
    assert rendered.text.startswith(
        '// docs/ledger.md\n// # Ledger 2.3\n//\n// book.enter(amount_cents=1200, memo="rent")\n'
    )
    assert rendered.text.endswith("// Both parameters are required.\n\n")
    assert all(line.startswith("//") for line in rendered.text.split("\n") if line)


def test_no_line_of_a_comment_escapes_it() -> None:
    text = "one\u2028two\x0cthree\rfour\x85five"
    rendered = render(Document("a", text, "note"), layout="comments", language="python")
    assert all(line.startswith("#") for line in rendered.text.split("\n") if line)
    assert ast.parse(rendered.text).body == []


def test_a_docstring_is_valid_code_whatever_the_text() -> None:
    text = 'say """hello""" and \\ end"'
    rendered = render(Document("a.md", text, "note"), layout="docstring", language="python")
    assert rendered.name == "a.py"
    assert isinstance(ast.parse(rendered.text).body[0], ast.Expr)


def test_source_stays_source_and_languages_without_comments_get_files() -> None:
    source = Document("a.py", "x = 1\n", "source")
    for layout in DOCUMENT_LAYOUTS:
        assert render(source, layout=layout, language="python").text == "x = 1\n"
        assert not render(API, layout=layout, language="json").inside


@pytest.mark.parametrize("layout", DOCUMENT_LAYOUTS)
@pytest.mark.parametrize("text", ["", "\n\n", "\r\na\r\n", "\x00", "x" * 5000])
def test_any_text_is_rendered(layout: str, text: str) -> None:
    document = Document("", text, "api")
    assert render(document, layout=layout, language="python").text.endswith("\n")  # type: ignore[arg-type]
