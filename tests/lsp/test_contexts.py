"""The journal's current step decides what is suggested, and changes of it arrive while the editor is open."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from engine.documents import Document
from journal import files
from journal.workspace import Workspace
from lsp.contexts import Choice, Context
from lsp.journals import JournalReader, make_watcher

JOURNAL = """\
# Refunds

<!-- journal:{"id":"s1","kind":"step","state":"doing"} -->
## Book a sale

<!-- journal:{"id":"d1","kind":"doc","src":"docs/enter.md"} -->
[How a sale is booked](docs/enter.md)

<!-- journal:{"id":"s2","kind":"step","state":"todo"} -->
## Take it back

<!-- journal:{"id":"d2","kind":"doc","src":"docs/contra.md"} -->
[How a sale is taken back](docs/contra.md)
"""
CODE = "def book(ledger):\n    ledger."
ENTER, CONTRA = "enter(amount_cents, memo)", "contra(reference)"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return make_project(tmp_path / "project")


def make_project(root: Path, *, enter: str = ENTER) -> Path:
    (root / "docs").mkdir(parents=True)
    (root / "docs" / "enter.md").write_text(f"    ledger.{enter}\n")
    (root / "docs" / "contra.md").write_text(f"    ledger.{CONTRA}\n")
    (root / "refunds.journal.md").write_text(JOURNAL)
    (root / "book.py").write_text(CODE)
    (root / ".steerway").mkdir()
    return root


@pytest.fixture
def editor(serve: Any) -> Any:
    """`async with editor() as client`: a server over the real journal package and watcher."""
    return lambda **parts: serve(**{"reader": JournalReader(), "watcher": make_watcher, **parts})


async def suggestion(client: Any, uri: str, version: int = 0) -> str:
    items = await client.inline(uri, 1, 11)
    return str(items[0]["insertText"]) if items else ""


def at(holds: str) -> Any:
    """Of a status: whether the first workspace's step or documents mention this."""
    return lambda status: bool(status["workspaces"]) and holds in str(status["workspaces"][0])


async def test_the_current_step_decides_and_the_editor_can_change_it(editor: Any, project: Path) -> None:
    uri = (project / "book.py").as_uri()
    async with editor() as client:
        await client.initialize()
        await client.ready()
        client.open(uri, CODE)

        assert await suggestion(client, uri) == ENTER
        assert await client.command("steerway.setStep", "2") == {"step": "Take it back"}
        assert await suggestion(client, uri) == CONTRA

        last = (await client.status())["requests"][0]
        assert last["step"] == "Take it back"
        assert "docs/contra.md" in last["documents"]


async def test_a_step_set_elsewhere_a_changed_document_and_an_edited_journal_arrive(
    editor: Any, project: Path
) -> None:
    uri = (project / "book.py").as_uri()
    journal = project / "refunds.journal.md"
    async with editor() as client:
        await client.initialize()
        await client.ready()
        client.open(uri, CODE)
        assert await suggestion(client, uri) == ENTER

        (project / "docs" / "enter.md").write_text("    ledger.put(cents)\n")
        await changed_to(client, uri, "put(cents)")

        elsewhere = Workspace.find(project)
        try:
            elsewhere.set_current_step(journal, files.read(journal)[0].step("s2"))
        finally:
            elsewhere.close()
        await changed_to(client, uri, CONTRA)

        replacement = project / "new.tmp"
        replacement.write_text(JOURNAL.replace("docs/contra.md", "docs/void.md"))
        (project / "docs" / "void.md").write_text("    ledger.void()\n")
        replacement.replace(journal)
        await changed_to(client, uri, "void()")


async def changed_to(client: Any, uri: str, expected: str) -> None:
    """Ask until the context has arrived; the tests' own time limit ends it."""
    while await suggestion(client, uri) != expected:
        await asyncio.sleep(0.05)


async def test_without_a_journal_suggestions_work_and_nothing_is_written(editor: Any, tmp_path: Path) -> None:
    folder = tmp_path / "plain"
    folder.mkdir()
    uri = (folder / "a.py").as_uri()
    async with editor() as client:
        await client.initialize()
        await client.ready()
        client.open(uri, "ledger.one\nother\nledger.")
        (item,) = await client.inline(uri, 2, 7)
        assert item["insertText"] == "one"
        status = await client.status()
        assert status["workspaces"] == [
            {
                "root": str(folder),
                "state": "ready",
                "journal": "",
                "step": "",
                "documents": [],
                "problems": [],
            }
        ]
    assert list(folder.iterdir()) == []


def test_a_folder_that_nothing_marks_is_neither_walked_nor_written_to(project: Path, tmp_path: Path) -> None:
    reader = JournalReader()
    missing = tmp_path / "not" / "there" / "yet"
    assert reader.root(missing) == missing
    for root in (missing, tmp_path):
        assert reader.read(root, Choice()) == Context(root)
    assert not (tmp_path / ".steerway").exists()
    found = reader.read(reader.root(project / "docs"), Choice())
    assert found.root == project
    assert {path.name for path in found.watched} >= {
        "refunds.journal.md",
        "enter.md",
        "state.db",
        "state.db-wal",
    }
    reader.close()


async def test_each_file_has_its_own_workspace(editor: Any, tmp_path: Path) -> None:
    one = make_project(tmp_path / "one")
    two = make_project(tmp_path / "two", enter="other()")
    async with editor() as client:
        await client.initialize()
        await client.ready()
        answers = []
        for root in (one, two):
            uri = (root / "book.py").as_uri()
            client.open(uri, CODE)
            answers.append(await suggestion(client, uri))
        assert answers == [ENTER, "other()"]
        await client.command("steerway.setStep", "2", (one / "book.py").as_uri())
        assert await suggestion(client, (one / "book.py").as_uri()) == CONTRA
        assert await suggestion(client, (two / "book.py").as_uri()) == "other()"


async def test_editor_settings_choose_a_step_and_a_journal_inside_the_workspace(
    editor: Any, project: Path
) -> None:
    (project / "other.journal.md").write_text("# Other\n")
    uri = (project / "book.py").as_uri()
    async with editor() as client:
        await client.initialize(options={"step": "s2", "journal": "refunds.journal.md"})
        await client.ready()
        client.open(uri, CODE)
        assert await suggestion(client, uri) == CONTRA
        with pytest.raises(Exception, match=r"steerway\.step holds the step"):
            await client.command("steerway.setStep", "s1")

        settings = {"steerway": {"journal": "../../private.journal.md"}}
        client.notify("workspace/didChangeConfiguration", {"settings": settings})
        await client.logged("outside the workspace")
        await client.status_when(at("outside the workspace"))
        assert await suggestion(client, uri) == ""


async def test_a_journal_from_the_command_line_holds_for_every_file(
    editor: Any, project: Path, tmp_path: Path
) -> None:
    uri = (tmp_path / "elsewhere" / "a.py").as_uri()
    async with editor(journal=project / "refunds.journal.md") as client:
        await client.initialize()
        await client.ready()
        client.open(uri, CODE)
        assert await suggestion(client, uri) == ENTER


async def test_what_is_wrong_with_a_journal_is_said_and_nothing_stops(editor: Any, project: Path) -> None:
    (project / "docs" / "enter.md").unlink()
    uri = (project / "book.py").as_uri()
    async with editor() as client:
        await client.initialize()
        await client.ready()
        client.open(uri, "a b c\nother\na b ")
        (item,) = await client.inline(uri, 2, 4)
        assert item["insertText"] == "c"
        status = await client.status()
        assert "docs/enter.md" in str(status["workspaces"][0]["problems"])
        with pytest.raises(Exception, match="9"):
            await client.command("steerway.setStep", "9")


async def test_a_damaged_state_and_a_journal_that_cannot_be_read(editor: Any, project: Path) -> None:
    (project / ".steerway" / "state.db").write_bytes(b"no database at all" * 100)
    (project / "refunds.journal.md").unlink()
    (project / "refunds.journal.md").mkdir()
    uri = (project / "book.py").as_uri()
    async with editor() as client:
        await client.initialize()
        await client.ready()
        client.open(uri, "a b c\nother\na b ")
        (item,) = await client.inline(uri, 2, 4)
        assert item["insertText"] == "c"


async def test_the_edited_file_is_not_read_twice(serve: Any, gated: Any, reader: Any, tmp_path: Path) -> None:
    near = "def helper():\n    return 1\n"
    far = "def far_away():\n    return 2\n"
    text = far + "# filler\n" * 2000 + near + "x = "
    reader.context = Context(
        tmp_path,
        documents=(
            Document("old.py", "an old copy", kind="source"),
            Document("edited.py", text.replace("filler", "padding"), kind="source"),
            Document("edited.py", near, kind="source", origin="edited.py#helper"),
            Document("edited.py", far, kind="source", origin="edited.py#far_away"),
            Document("config/.env", "KEY=1"),
            Document("docs/a.md", "read me"),
        ),
    )
    reader.root = lambda folder: tmp_path
    async with serve(engine=lambda: gated, reader=reader) as client:
        await client.initialize()
        await client.ready()
        uri = (tmp_path / "edited.py").as_uri()
        client.open(uri, text)
        gated.allow(100)
        await client.inline(uri, text.count("\n"), 4)
    (request,) = gated.requests
    assert [(each.name, each.text) for each in request.documents] == [
        ("old.py", "an old copy"),
        ("edited.py", far),
        ("docs/a.md", "read me"),
    ]
    assert request.path == "edited.py"
    assert request.repository == tmp_path.name
    assert request.prefix == text


async def test_statistics_hold_numbers_and_no_text(serve: Any, isolated_home: Path) -> None:
    uri = "file:///project/a.py"
    async with serve() as client:
        await client.initialize()
        await client.ready()
        client.open(uri, "secret_name.value\nother\nsecret_name.")
        (item,) = await client.inline(uri, 2, 12)
        await client.command("steerway.accepted", *item["command"]["arguments"])
    database = isolated_home / "state" / "suggestions.db"
    connection = sqlite3.connect(database)
    rows = connection.execute("select event, language, characters, model from events").fetchall()
    connection.close()
    assert rows == [("shown", "python", 5, "fake"), ("accepted", "python", 5, "fake")]
    assert b"secret_name" not in database.read_bytes()
