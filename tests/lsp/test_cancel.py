"""Cancelling: the editor hears at once, and the model makes at most one more token."""

from __future__ import annotations

from typing import Any

import pytest

from engine.runtime.fake import FakeEngine

URI = "file:///project/a.py"
REQUEST_CANCELLED = -32800


async def test_a_cancelled_request_is_answered_and_the_model_stops_at_its_next_token(
    serve: Any, gated: Any
) -> None:
    async with serve(engine=lambda: gated) as client:
        await client.initialize()
        await client.ready()
        client.open(URI, "x = ")
        number, answer = client.start("textDocument/inlineCompletion", client.inline_params(URI, 0, 4))
        gated.allow(3)
        await gated.until(lambda: gated.tokens == 3)

        client.cancel(number)
        with pytest.raises(Exception, match="cancel") as caught:
            await answer
        assert caught.value.code == REQUEST_CANCELLED
        assert gated.tokens == 3

        gated.allow(20)
        await gated.until(lambda: bool(gated.suggestions))
        assert gated.tokens <= 4
        assert gated.suggestions[0].stop == "cancelled"
        assert (await client.status())["requests"][0]["outcome"] == "cancelled"


async def test_a_newer_request_ends_the_older(serve: Any, gated: Any) -> None:
    async with serve(engine=lambda: gated) as client:
        await client.initialize()
        await client.ready()
        client.open(URI, "x = \ny = ")
        _, older = client.start("textDocument/inlineCompletion", client.inline_params(URI, 0, 4))
        gated.allow(2)
        await gated.until(lambda: gated.tokens == 2)

        _, newer = client.start("textDocument/inlineCompletion", client.inline_params(URI, 1, 4, kind=1))
        assert (await older)["items"] == []
        assert gated.tokens == 2

        gated.allow(100)
        assert (await newer)["items"][0]["insertText"] == gated.text
        assert gated.suggestions[0].stop == "cancelled"
        assert gated.suggestions[0].tokens_generated <= 3


async def test_a_change_of_the_file_drops_the_answer_under_way(serve: Any, gated: Any) -> None:
    async with serve(engine=lambda: gated) as client:
        await client.initialize()
        await client.ready()
        client.open(URI, "x = ")
        _, answer = client.start("textDocument/inlineCompletion", client.inline_params(URI, 0, 4))
        gated.allow(2)
        await gated.until(lambda: gated.tokens == 2)

        client.change(URI, 2, {"text": "x = 1"})
        assert (await answer)["items"] == []
        assert gated.tokens == 2

        gated.allow(100)
        await gated.until(lambda: bool(gated.suggestions))
        assert gated.suggestions[0].stop == "cancelled"
        assert gated.suggestions[0].tokens_generated <= 3
        assert (await client.status())["requests"][0]["outcome"] == "stale"


async def test_an_answer_for_a_text_that_moved_is_never_given(serve: Any, gated: Any) -> None:
    async with serve(engine=lambda: gated) as client:
        await client.initialize(options={"debounceMs": 200})
        await client.ready()
        client.open(URI, "x = ")
        _, answer = client.start("textDocument/inlineCompletion", client.inline_params(URI, 0, 4))
        client.change(URI, 2, {"text": "completely different"})
        assert (await answer)["items"] == []
        assert gated.requests == []


async def test_requests_while_the_debounce_runs_reach_the_model_once(serve: Any, gated: Any) -> None:
    async with serve(engine=lambda: gated) as client:
        await client.initialize(options={"debounceMs": 300})
        await client.ready()
        client.open(URI, "x = ")
        gated.allow(100)
        params = client.inline_params(URI, 0, 4)
        answers = [client.start("textDocument/inlineCompletion", params)[1] for _ in range(5)]
        texts = [(await answer)["items"] for answer in answers]
        assert [bool(items) for items in texts] == [False] * 4 + [True]
        assert len(gated.requests) == 1


async def test_cancelling_before_the_model_is_asked_or_after_it_answered_is_harmless(serve: Any) -> None:
    async with serve(engine=lambda: FakeEngine()) as client:
        await client.initialize(options={"debounceMs": 1000})
        await client.ready()
        client.open(URI, "a b c a b ")
        number, answer = client.start("textDocument/inlineCompletion", client.inline_params(URI, 0, 10))
        client.cancel(number)
        with pytest.raises(Exception, match="cancel"):
            await answer
        client.cancel(number)
        client.cancel(4711)
        (item,) = await client.inline(URI, 0, 10, kind=1)
        assert item["insertText"].startswith("c")


async def test_the_real_command_cancels_at_a_token(spawn: Any) -> None:
    async with spawn("--model", "fake:30") as (client, process):
        await client.initialize()
        await client.ready()
        client.open(URI, "def f(a):\n    return [a, b, c, d, e, f, g, h, i]\n\ndef g(a):\n    return ")
        params = client.inline_params(URI, 4, 11, kind=1)
        number, answer = client.start("textDocument/inlineCompletion", params)
        await client.status_when(lambda status: status["working"] == 1)
        client.cancel(number)
        with pytest.raises(Exception, match="cancel"):
            await answer
        status = await client.status()
        assert status["requests"][0]["outcome"] == "cancelled"
        await client.leave()
        assert await process.wait() == 0
