"""Two editors, one engine: language servers that share a process with one loaded model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine import services
from tests.engine.service_home import SAME_BUILD, home

__all__ = ["home"]

TEXT = "def add(a, b):\n    return a + b\n\n\ndef sub(a, b):\n    \n"


@pytest.mark.model
async def test_two_language_servers_share_one_engine(
    spawn: Any, small_model: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (home / "projects" / name / "a.py" for name in ("one", "two"))
    model = ("--model", str(small_model))
    async with spawn(*model, before=SAME_BUILD) as (one, _), spawn(*model, before=SAME_BUILD) as (two, _):
        texts = []
        for client, file in ((one, first), (two, second)):
            await client.initialize(encodings=["utf-8"])
            await client.ready()
            client.open(file.as_uri(), TEXT)
            (item,) = await client.inline(file.as_uri(), 5, 4, kind=2)
            texts.append(item["insertText"])
        assert texts[0] == texts[1] != ""
        (found,) = services.find()
        assert found.status is not None
        names = [each["name"] for each in found.status["service"]["clients"]]
        assert names.count("lsp") == 2
        assert found.status["requests"] == 2
        for client in (one, two):
            await client.leave()
    (found,) = services.find()
    assert services.end(found).how == "stopped"
