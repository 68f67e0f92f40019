"""The process: its streams, how it ends, what it prints."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

URI = "file:///project/a.py"


async def test_the_command_serves_on_stdin_and_stdout_and_ends_cleanly(spawn: Any, tmp_path: Path) -> None:
    log = tmp_path / "logs" / "lsp.log"
    async with spawn("--model", "fake", "--log", str(log)) as (client, process):
        await client.initialize()
        await client.ready()
        client.open(URI, "alpha beta = 1\nother\nalpha ")
        (item,) = await client.inline(URI, 2, 6)
        assert item["insertText"] == "beta = 1"
        await client.leave()
        assert await asyncio.wait_for(process.wait(), 30) == 0
        assert await process.stderr.read() == b""
    assert "model fake is ready" in log.read_text()
    assert "alpha" not in log.read_text()


async def test_the_server_ends_when_its_editor_is_gone(spawn: Any) -> None:
    async with spawn("--model", "fake") as (client, process):
        await client.initialize()
        process.stdin.close()
        assert await asyncio.wait_for(process.wait(), 30) == 1


async def test_a_model_that_is_not_there_is_one_message_with_what_to_do(spawn: Any) -> None:
    async with spawn() as (client, _process):
        await client.initialize()
        shown = await client.until(lambda each: each["method"] == "window/showMessage")
        assert "steerway model pull" in shown["params"]["message"]
        client.open(URI, "x = ")
        assert await client.inline(URI, 0, 4) == []
        assert "steerway model pull" in (await client.status())["why"]


async def test_a_missing_journal_is_a_usage_error(spawn: Any, tmp_path: Path) -> None:
    async with spawn("--journal", str(tmp_path / "none.journal.md")) as (_client, process):
        assert await process.wait() == 2
        assert b"does not exist" in await process.stderr.read()


async def test_a_log_that_cannot_be_written_is_a_usage_error(spawn: Any, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    async with spawn("--model", "fake", "--log", str(tmp_path / "file" / "lsp.log")) as (_client, process):
        assert await process.wait() == 2
        said = (await process.stderr.read()).decode()
        assert "lsp.log cannot be written: " in said
        assert said.count("\n") == 1


async def test_bad_messages_do_not_end_the_server(spawn: Any) -> None:
    async with spawn("--model", "fake") as (client, _process):
        await client.initialize()
        await client.ready()
        client.notify("textDocument/didChange", {"textDocument": 5})
        client.notify(
            "textDocument/didChange",
            {"textDocument": {"uri": "file:///x", "version": 1}, "contentChanges": []},
        )
        client.notify("textDocument/didClose", {"textDocument": {"uri": "file:///never"}})
        client.notify("unknown/notification", {})
        client.open(URI, json.loads('"lone \\ud800 surrogate a b c\\na b "'))
        (item,) = await client.inline(URI, 1, 4)
        assert item["insertText"] == "c"
