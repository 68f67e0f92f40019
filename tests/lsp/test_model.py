"""The default model through the wire: a step's in-house API page makes the suggestion right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

PAGE = """\
# The ledger

Every booking goes through `Book.post_entry`. Amounts are whole cents, the memo is free text.

```python
from ledger import Book

book = Book.open("march")
book.post_entry(amount_cents=1250, memo="two mugs")
book.post_entry(amount_cents=300, memo="postage")
```
"""
JOURNAL = """\
# Sales

<!-- journal:{"id":"s1","kind":"step","state":"doing"} -->
## Book the sale

<!-- journal:{"id":"d1","kind":"doc","src":"docs/ledger.md"} -->
[The ledger](docs/ledger.md)

<!-- journal:{"id":"s2","kind":"step","state":"todo"} -->
## Tidy up
"""
BEFORE = """\
from ledger import Book


def sell(book: Book, cents: int, what: str) -> None:
    \"\"\"Book one sale.\"\"\"
    book."""
AFTER = """

def total(sales: list[int]) -> int:
    return sum(sales)
"""


@pytest.mark.model
async def test_the_steps_page_makes_the_suggestion_right(
    spawn: Any, default_model: Path, tmp_path: Path
) -> None:
    (tmp_path / "project" / "docs").mkdir(parents=True)
    (tmp_path / "project" / ".steerway").mkdir()
    (tmp_path / "project" / "docs" / "ledger.md").write_text(PAGE)
    (tmp_path / "project" / "sales.journal.md").write_text(JOURNAL)
    uri = (tmp_path / "project" / "shop.py").as_uri()
    async with spawn("--model", str(default_model)) as (client, _process):
        await client.initialize(encodings=["utf-8"])
        await client.ready()
        client.open(uri, BEFORE + AFTER)
        line = BEFORE.count("\n")

        with_page = (await client.inline(uri, line, 9))[0]["insertText"]
        await client.command("steerway.setStep", "s2")
        without = [item["insertText"] for item in await client.inline(uri, line, 9)]

        assert with_page.startswith("post_entry(amount_cents=cents, memo=")
        assert not any("post_entry" in text for text in without)
        requests = (await client.status())["requests"]
        assert requests[1]["documents"][-1] == "docs/ledger.md"
        assert requests[1]["tokens_generated"] > 0
        assert "docs/ledger.md" not in requests[0]["documents"]


@pytest.mark.model
async def test_a_keystroke_computes_little_and_a_cancel_ends_a_real_generation(
    spawn: Any, small_model: Path
) -> None:
    uri = "file:///project/long.py"
    text = "".join(f"def function_{number}(x):\n    return x + {number}\n\n\n" for number in range(40))
    async with spawn("--model", str(small_model)) as (client, _process):
        await client.initialize(encodings=["utf-8"], options={"maxTokens": 400})
        await client.ready()
        client.open(uri, text)
        end = {"line": text.count("\n"), "character": 0}
        await client.inline(uri, end["line"], 0, kind=2)
        client.change(uri, 2, {"range": {"start": end, "end": end}, "text": "def "})
        await client.inline(uri, end["line"], 4, kind=2)
        newer, older = (await client.status())["requests"][:2]
        assert newer["tokens_computed"] < older["tokens_computed"] / 4

        client.change(uri, 3, {"range": {"start": end, "end": end}, "text": "x = [\n    1,\n    2,\n    "})
        params = client.inline_params(uri, end["line"] + 3, 4, kind=1)
        number, answer = client.start("textDocument/inlineCompletion", params)
        await client.status_when(lambda status: status["working"] == 1)
        client.cancel(number)
        with pytest.raises(Exception, match="cancel"):
            await answer
        assert (await client.status())["requests"][0]["outcome"] == "cancelled"
