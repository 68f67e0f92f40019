"""Ghost text in `steerway shell`: history first, then the engine, which reads the step's documents."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.document import Document
from prompt_toolkit.history import InMemoryHistory

from engine.errors import ModelFileMissing
from engine.open import open_engine
from engine.runtime.base import Engine
from engine.runtime.worker import EngineThread
from journal.repl.session import Ran, Session
from journal.repl.suggest import EngineSuggest
from journal.workspace import Workspace

JOURNAL = """<!-- journal:{"id":"s001","kind":"step"} -->
## Retry uploads

<!-- journal:{"id":"d001","kind":"doc","src":"retry.md"} -->
[retry.md](retry.md)
"""


@pytest.fixture
def session(tmp_path: Path, isolated_home: Path) -> Iterator[Session]:
    (tmp_path / ".steerway").mkdir()
    (tmp_path / "work.journal.md").write_text(JOURNAL)
    (tmp_path / "retry.md").write_text("Call `upload --retries 3`.\n")
    one = Session(tmp_path / "work.journal.md", Workspace(tmp_path), out=io.StringIO())
    yield one
    one.close()


def typed(text: str, *history: str) -> tuple[Buffer, Document]:
    buffer = Buffer(history=InMemoryHistory(list(history)))
    buffer.text = text
    buffer.cursor_position = len(text)
    return buffer, buffer.document


def test_the_request_holds_the_step_and_what_was_run(session: Session, tmp_path: Path) -> None:
    session.ran += [Ran("sh", "cd up", True), Ran("sh", "flase", False), Ran("python", "x = 1", True)]
    with EngineThread(lambda: open_engine("fake")) as engine:
        request = EngineSuggest(session, engine, print).request("upload ")
    assert (request.prefix, request.language, request.stop_at) == ("cd up\nupload ", "bash", "line")
    assert any("--retries 3" in document.text for document in request.documents)


async def test_the_engine_suggests_the_rest_of_the_line(session: Session) -> None:
    with EngineThread(lambda: open_engine("fake")) as engine:
        suggest = EngineSuggest(session, engine, print)
        buffer, document = typed("upload --re")
        found = await suggest.get_suggestion_async(buffer, document)
        assert found is None or "\n" not in found.text
        assert await suggest.get_suggestion_async(*typed(":run x")) is None
        assert await suggest.get_suggestion_async(*typed("  ")) is None


async def test_an_engine_that_does_not_load_is_said_once(session: Session) -> None:
    def missing() -> Engine:
        raise ModelFileMissing("no model", hint="pull one")

    said: list[str] = []
    with EngineThread(missing) as engine:
        suggest = EngineSuggest(session, engine, said.append)
        for _ in range(2):
            assert await suggest.get_suggestion_async(*typed("upload")) is None
    assert said == ["no suggestions: no model: pull one"]


def test_what_is_saved_keeps_a_journal_trusted(session: Session, tmp_path: Path) -> None:
    from journal.run.trust import Trust

    session.run_text("echo typed by hand")
    session.save(session.ran)
    assert Trust().knows(session.journal)
    assert "echo typed by hand" in (tmp_path / "work.journal.md").read_text()


def test_an_edit_by_somebody_else_is_merged_when_saving(session: Session, tmp_path: Path) -> None:
    session.run_text("true")
    path = tmp_path / "work.journal.md"
    path.write_text("Their note.\n\n" + JOURNAL)
    session.save(session.ran)
    text = path.read_text()
    assert "Their note." in text
    assert "```sh {" in text
