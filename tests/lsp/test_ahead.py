"""Encoding ahead: what the engine is given to do while nobody asks, and answers that are not final."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from engine.documents import Document
from engine.request import Cancel, DocumentUse, Request, Suggestion
from engine.runtime.base import OnText
from engine.runtime.fake import FakeEngine
from engine.runtime.idle import NOT_ENCODED
from lsp.contexts import Context

URI = "file:///project/shop.py"
PAGE = Document("docs/ledger.md", "Book.enter takes cents.\n")
OTHER = Document("docs/other.md", "Nothing about it.\n")


class Reluctant(FakeEngine):
    """Leaves documents out as long as they are not encoded; records what it is asked to prepare."""

    def __init__(self) -> None:
        super().__init__()
        self.prepared: list[Request] = []
        self.asked: list[Request] = []
        self.encoded = False
        self.moved = threading.Condition()

    def prepare(self, request: Request, *, cancel: Cancel) -> int:
        with self.moved:
            self.prepared.append(request)
            self.moved.notify_all()
        return 0

    def suggest(
        self, request: Request, *, on_text: OnText | None = None, cancel: Cancel | None = None
    ) -> Suggestion:
        self.asked.append(request)
        left_out = not self.encoded and request.patience_ms is not None
        uses = tuple(
            DocumentUse(each.name, each.kind, 0, "skipped", 9, reason=NOT_ENCODED)
            if left_out
            else DocumentUse(each.name, each.kind, 9, "computed")
            for each in request.documents
        )
        return Suggestion("guess" if left_out else "enter(cents)", "line", uses)

    async def wait(self, pieces: int) -> Request:
        def arrived() -> Request:
            with self.moved:
                assert self.moved.wait_for(lambda: len(self.prepared) >= pieces, 30)
                return self.prepared[pieces - 1]

        return await asyncio.to_thread(arrived)


@pytest.fixture
def engine() -> Reluctant:
    return Reluctant()


async def test_a_pause_and_a_change_of_step_have_documents_encoded(
    serve: Any, reader: Any, engine: Reluctant
) -> None:
    reader.context = Context(Path("/project"), step="One", documents=(PAGE,))
    async with serve(lambda: engine, reader=reader) as client:
        await client.initialize(encodings=["utf-8"])
        await client.ready()
        client.open(URI, "book.\n")
        first = await engine.wait(1)
        assert (first.documents, first.prefix + first.suffix) == ((PAGE,), "book.\n")

        position = {"line": 0, "character": 5}
        client.change(URI, 2, {"range": {"start": position, "end": position}, "text": "enter"})
        second = await engine.wait(2)
        # Where it was typed is where it will go on.
        assert (second.prefix, second.suffix) == ("book.enter", "\n")

        reader.context = Context(Path("/project"), step="Two", documents=(OTHER,))
        await client.command("steerway.setStep", "2", URI)
        third = await engine.wait(3)
        assert third.documents == (OTHER,)


async def test_what_was_said_without_a_document_is_not_the_answer(
    serve: Any, reader: Any, engine: Reluctant
) -> None:
    reader.context = Context(Path("/project"), step="One", documents=(PAGE,))
    async with serve(lambda: engine, reader=reader) as client:
        await client.initialize(encodings=["utf-8"])
        await client.ready()
        client.open(URI, "book.\n")
        (item,) = await client.inline(URI, 0, 5, kind=2)
        assert item["insertText"] == "guess"
        status = await client.status()
        assert "without docs/ledger.md, not encoded yet" in status["why"]
        assert status["requests"][0]["skipped"] == ["docs/ledger.md"]
        assert status["cached"] == 0
        # It is prepared as soon as there is time, and asked for again at the next keystroke.
        assert (await engine.wait(1)).documents == (PAGE,)
        engine.encoded = True
        (item,) = await client.inline(URI, 0, 5, kind=2)
        assert item["insertText"] == "enter(cents)"
        status = await client.status()
        assert "not encoded" not in status["why"]
        assert status["cached"] == 1


async def test_who_asks_has_patience_who_types_has_what_the_settings_say(
    serve: Any, reader: Any, engine: Reluctant
) -> None:
    reader.context = Context(Path("/project"), step="One", documents=(PAGE,))
    async with serve(lambda: engine, reader=reader) as client:
        await client.initialize(encodings=["utf-8"])
        await client.ready()
        client.open(URI, "book.\n")
        await client.inline(URI, 0, 5, kind=2)
        items = await client.inline(URI, 0, 5, kind=1)
        assert items[0]["insertText"] == "enter(cents)"
        assert [request.patience_ms for request in engine.asked[:2]] == [1000.0, None]


async def test_nothing_is_prepared_where_nothing_is_suggested(
    serve: Any, reader: Any, engine: Reluctant
) -> None:
    async with serve(lambda: engine, reader=reader) as client:
        await client.initialize(encodings=["utf-8"], options={"languages": {"markdown": False}})
        await client.ready()
        client.open("file:///project/.env", "KEY=1\n")
        await asyncio.sleep(0.6)
        client.open("file:///project/a.md", "# A\n", language="markdown")
        await asyncio.sleep(0.6)
        client.open(URI, "book.\n")
        assert (await engine.wait(1)).path == "shop.py"
        assert len(engine.prepared) == 1
