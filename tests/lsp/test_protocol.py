"""What an editor gets over the wire: ghost text, the menu, encodings, line ends, settings, status."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from engine.errors import ModelFileMissing, RemoteFailed
from engine.runtime.fake import FakeEngine
from engine.settings import Settings

URI = "file:///project/sums.py"
CODE = "def one(values):\n    return sum(values)\n\n\ndef two(values):\n    return "
EXPECTED = "sum(values)"


async def test_a_suggestion_is_received_and_where_it_goes_in(serve: Any) -> None:
    async with serve() as client:
        capabilities = await client.initialize()
        assert capabilities["inlineCompletionProvider"] == {}
        assert "completionProvider" not in capabilities
        await client.ready()
        client.open(URI, CODE)

        (item,) = await client.inline(URI, 5, 11)

        cursor = {"line": 5, "character": 11}
        assert item["insertText"] == EXPECTED
        assert item["range"] == {"start": cursor, "end": cursor}
        assert item["command"]["command"] == "steerway.accepted"
        assert item["command"]["command"] in capabilities["executeCommandProvider"]["commands"]


async def test_an_editor_without_inline_completion_gets_one_menu_item(serve: Any) -> None:
    async with serve() as client:
        item_options = {"documentationFormat": ["markdown"], "insertTextModeSupport": {"valueSet": [1, 2]}}
        capabilities = await client.initialize(
            inline=False, textDocument={"completion": {"completionItem": item_options}}
        )
        assert "inlineCompletionProvider" not in capabilities
        assert "." in capabilities["completionProvider"]["triggerCharacters"]
        await client.ready()
        client.open(URI, CODE + "su")

        params = {"textDocument": {"uri": URI}, "position": {"line": 5, "character": 13}}
        menu = await client.request("textDocument/completion", params)

        assert menu["isIncomplete"] is True
        (item,) = menu["items"]
        assert item["label"] == EXPECTED
        assert item["textEdit"] == {
            "range": {"start": {"line": 5, "character": 11}, "end": {"line": 5, "character": 13}},
            "newText": EXPECTED,
        }
        assert item["filterText"] == EXPECTED
        assert item["sortText"] > "zzzz"
        assert item["insertTextMode"] == 1
        assert item["documentation"] == {"kind": "markdown", "value": f"```python\n{EXPECTED}\n```"}


@pytest.mark.parametrize(
    ("offered", "chosen", "character"),
    [(["utf-8", "utf-16"], "utf-8", 25), (None, "utf-16", 20), (["utf-32"], "utf-32", 18)],
)
async def test_positions_follow_the_negotiated_encoding(
    serve: Any, offered: list[str] | None, chosen: str, character: int
) -> None:
    line = '    "🎉é𝄞"; return '
    code = f"def one(values):\n{line}sum(values)\n\n\ndef two(values):\n{line}\nend\n"
    async with serve() as client:
        capabilities = await client.initialize(encodings=offered)
        assert capabilities["positionEncoding"] == chosen
        await client.ready()
        client.open(URI, code)

        (item,) = await client.inline(URI, 5, character)

        assert item["insertText"] == EXPECTED
        assert item["range"]["start"] == {"line": 5, "character": character}


async def test_incremental_changes_count_in_the_negotiated_encoding(serve: Any) -> None:
    async with serve() as client:
        await client.initialize(encodings=["utf-16"])
        await client.ready()
        client.open(URI, 'label = "🎉🎉"\n' + CODE)
        before = {"start": {"line": 0, "character": 9}, "end": {"line": 0, "character": 11}}
        client.change(URI, 2, {"range": before, "text": "𝄞x"}, {"range": before, "text": ""})
        past = {"start": {"line": 99, "character": 0}, "end": {"line": 99, "character": 9}}
        client.change(URI, 3, {"range": past, "text": "su"})

        (item,) = await client.inline(URI, 6, 13)

        assert client.server.session.files[URI].text.value == 'label = "x🎉"\n' + CODE + "su"
        assert item["insertText"] == EXPECTED[2:]


async def test_files_with_crlf_keep_their_line_ends(serve: Any) -> None:
    code = "def one(values):\n    return sum(\n        values,\n    )\n\n\ndef two(values):\n    return "
    async with serve() as client:
        await client.initialize()
        await client.ready()
        client.open(URI, code.replace("\n", "\r\n"))

        (item,) = await client.inline(URI, 7, 11)

        assert item["insertText"] == "sum(\r\n        values,\r\n    )"
        assert client.server.session.model is not None


@pytest.mark.parametrize("position", [(5, 9999), (9999, 0), (9999, 9999)])
async def test_a_position_outside_the_file_means_the_nearest_inside(
    serve: Any, position: tuple[int, int]
) -> None:
    async with serve() as client:
        await client.initialize()
        await client.ready()
        client.open(URI, CODE)
        (item,) = await client.inline(URI, *position)
        assert item["insertText"] == EXPECTED
        assert item["range"]["start"] == {"line": 5, "character": 11}


async def test_lines_end_where_the_specification_says(serve: Any) -> None:
    async with serve() as client:
        await client.initialize()
        await client.ready()
        client.open(URI, "# form\ffeed, \u2028 and \x85 are not line ends\n" + CODE)
        (item,) = await client.inline(URI, 6, 11)
        assert item["insertText"] == EXPECTED


async def test_the_selected_menu_item_is_extended(serve: Any) -> None:
    async with serve() as client:
        await client.initialize()
        await client.ready()
        client.open(URI, CODE + "s")
        word = {"start": {"line": 5, "character": 11}, "end": {"line": 5, "character": 12}}

        (item,) = await client.inline(URI, 5, 12, selected={"range": word, "text": "sum"})
        assert item["insertText"] == EXPECTED
        assert item["range"] == word

        assert await client.inline(URI, 5, 12, selected={"range": word, "text": "sorted"}) == []


async def test_an_invoked_request_may_have_an_alternative_but_never_a_double(serve: Any) -> None:
    async with serve() as client:
        await client.initialize()
        await client.ready()
        client.open(URI, CODE)
        items = await client.inline(URI, 5, 11, kind=1)
        assert [item["insertText"] for item in items] == [EXPECTED]


class Sampling(FakeEngine):
    """An engine that says something else when it samples."""

    def suggest(self, request: Any, **options: Any) -> Any:
        suggestion = super().suggest(request, **options)
        return replace(suggestion, text="max(values)") if request.temperature else suggestion


async def test_an_alternative_comes_second_and_only_when_asked_for(serve: Any) -> None:
    async with serve(engine=Sampling) as client:
        await client.initialize()
        await client.ready()
        client.open(URI, CODE)
        assert len(await client.inline(URI, 5, 11, kind=2)) == 1
        items = await client.inline(URI, 5, 11, kind=1)
        assert [item["insertText"] for item in items] == [EXPECTED, "max(values)"]


async def test_typing_into_a_suggestion_keeps_it_without_the_model(serve: Any) -> None:
    async with serve() as client:
        await client.initialize()
        await client.ready()
        client.open(URI, CODE)
        await client.inline(URI, 5, 11)
        end = {"line": 5, "character": 11}
        client.change(URI, 2, {"range": {"start": end, "end": end}, "text": "sum("})

        (item,) = await client.inline(URI, 5, 15)

        assert item["insertText"] == "values)"
        last = (await client.status())["requests"][0]
        assert last["reason"] == "known from an earlier request"
        assert last["tokens_computed"] == 0


async def test_acceptance_is_counted_once(serve: Any) -> None:
    async with serve() as client:
        await client.initialize()
        await client.ready()
        client.open(URI, CODE)
        (item,) = await client.inline(URI, 5, 11)
        for _ in range(2):
            await client.command("steerway.accepted", *item["command"]["arguments"])
        await client.command("steerway.accepted", 4711)
        await client.command("steerway.accepted")

        status = await client.status()

        assert status["counts"] == {"shown": 1, "accepted": 1}
        assert status["requests"][0]["accepted"] is True
        assert CODE not in str(status)


async def test_status_says_why_there_was_nothing(serve: Any) -> None:
    async with serve() as client:
        await client.initialize(options={"steerway": {"languages": {"markdown": False}}})
        assert "model" in (await client.status())["why"] or "asked" in (await client.status())["why"]
        await client.ready()
        client.open("file:///project/.env", "KEY=")
        client.open("file:///project/read.md", "text ", language="markdown")
        client.open("git:/project/sums.py", CODE)

        reasons = []
        for uri in ("file:///project/.env", "file:///project/read.md", "git:/project/sums.py"):
            assert await client.inline(uri, 0, 4) == []
            reasons.append((await client.status())["why"])

        assert ".env may hold secrets" in reasons[0]
        assert "steerway.languages switches markdown off" in reasons[1]
        assert "git: documents get no suggestions" in reasons[2]
        assert await client.inline("file:///never/opened.py", 0, 0) == []


async def test_settings_come_from_three_places_and_the_model_from_none_of_them(serve: Any) -> None:
    async with serve() as client:
        client.configuration = {"debounceMs": 7}
        await client.initialize(
            options={"maxTokens": 3, "model": "/tmp/evil.gguf"},
            workspace={"configuration": True, "didChangeConfiguration": {"dynamicRegistration": True}},
        )
        await client.logged("steerway.model cannot be set by an editor")
        await client.ready()
        status = await client.status_when(lambda status: status["settings"]["debounceMs"] == 7)
        assert status["model"]["name"] == "fake"
        assert status["settings"]["maxTokens"] == 3
        assert "client/registerCapability" in [each["method"] for each in client.asked]

        client.configuration = {"enable": False, "maxTokens": "many", "colour": 1}
        client.notify("workspace/didChangeConfiguration", {"settings": None})
        await client.logged("steerway.maxTokens is 'many'")
        await client.logged("no setting is called steerway.colour")
        client.open(URI, CODE)
        assert await client.inline(URI, 5, 11) == []
        assert "steerway.enable" in (await client.status())["why"]


async def test_settings_pushed_by_an_editor_that_cannot_be_asked(serve: Any) -> None:
    async with serve() as client:
        await client.initialize()
        await client.ready()
        client.notify("workspace/didChangeConfiguration", {"settings": {"steerway": {"maxTokens": 1}}})
        client.open(URI, CODE)
        (item,) = await client.inline(URI, 5, 11)
        assert item["insertText"] == "sum"


async def test_a_missing_model_is_said_once_and_the_server_lives_on(serve: Any) -> None:
    def nothing() -> FakeEngine:
        raise ModelFileMissing("qwen is not on this machine", hint="steerway model pull qwen")

    async with serve(engine=nothing) as client:
        await client.initialize()
        shown = await client.until(lambda each: each["method"] == "window/showMessage")
        assert shown["params"]["message"] == "Steerway: qwen is not on this machine: steerway model pull qwen"
        client.open(URI, CODE)
        for _ in range(3):
            assert await client.inline(URI, 5, 11) == []
        status = await client.status()
        assert "steerway model pull qwen" in status["why"]
        assert status["model"]["state"] == "failed"
        assert len([each for each in client.notifications if each["method"] == "window/showMessage"]) == 1


async def test_a_model_that_came_since_is_found_without_a_restart(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = []

    def second_time() -> FakeEngine:
        tries.append(1)
        if len(tries) == 1:
            raise ModelFileMissing("qwen is not on this machine", hint="steerway model pull qwen")
        return FakeEngine()

    monkeypatch.setattr("lsp.model._RETRY_S", 0.0)
    async with serve(engine=second_time) as client:
        await client.initialize()
        await client.until(lambda each: each["method"] == "window/showMessage")
        client.open(URI, CODE)
        assert await client.inline(URI, 5, 11) == []
        await client.ready()
        (item,) = await client.inline(URI, 5, 11)
        assert item["insertText"] == EXPECTED


class Late(FakeEngine):
    """An engine whose time is up at its first request, and which is quicker at the next."""

    calls = 0

    def suggest(self, request: Any, **options: Any) -> Any:
        self.calls += 1
        suggestion = super().suggest(request, **options)
        return replace(suggestion, text="", stop="time") if self.calls == 1 else suggestion


async def test_an_answer_that_the_clock_cut_short_is_not_remembered(serve: Any) -> None:
    async with serve(engine=Late) as client:
        await client.initialize()
        await client.ready()
        client.open(URI, CODE)
        assert await client.inline(URI, 5, 11) == []
        (item,) = await client.inline(URI, 5, 11)
        assert item["insertText"] == EXPECTED


class Failing(FakeEngine):
    """An engine whose endpoint went away."""

    def suggest(self, request: Any, **options: Any) -> Any:
        raise RemoteFailed("the endpoint does not answer", hint="is it running?")


async def test_a_failing_engine_is_said_once_and_recorded(serve: Any) -> None:
    async with serve(engine=Failing) as client:
        await client.initialize()
        await client.ready()
        client.open(URI, CODE)
        for _ in range(3):
            assert await client.inline(URI, 5, 11) == []
        shown = [each["params"] for each in client.notifications if each["method"] == "window/showMessage"]
        assert [each["message"] for each in shown] == [
            "Steerway: the endpoint does not answer: is it running?"
        ]
        status = await client.status()
        assert status["counts"] == {"failed": 3}
        assert "is it running?" in status["why"]


async def test_a_file_longer_than_the_models_context_is_not_a_popup(serve: Any) -> None:
    async with serve(engine=lambda: FakeEngine(context_tokens=80)) as client:
        await client.initialize()
        await client.ready()
        client.open(URI, "word " * 500)
        assert await client.inline(URI, 0, 2500) == []
        assert (await client.status())["requests"][0]["outcome"] == "failed"
        assert not [each for each in client.notifications if each["method"] == "window/showMessage"]


async def test_loading_shows_progress(serve: Any) -> None:
    async with serve() as client:
        await client.initialize(window={"workDoneProgress": True})
        end = await client.until(
            lambda each: each["method"] == "$/progress" and each["params"]["value"]["kind"] == "end"
        )
        assert end["params"]["value"]["message"] == "fake is ready"
        assert client.asked[0]["method"] == "window/workDoneProgress/create"


async def test_an_unknown_step_is_one_clear_line(serve: Any, reader: Any) -> None:
    async with serve(reader=reader) as client:
        await client.initialize()
        with pytest.raises(Exception, match="no workspace is open"):
            await client.command("steerway.setStep", "2")
        client.open(URI, CODE)
        assert await client.command("steerway.setStep", "2") == {"step": "2"}
        with pytest.raises(Exception, match="no step was named"):
            await client.command("steerway.setStep")


async def test_a_limit_of_the_users_own_settings_holds(serve: Any) -> None:
    user = replace_settings(max_tokens=2)
    async with serve(user=user) as client:
        await client.initialize()
        await client.ready()
        client.open(URI, CODE)
        (item,) = await client.inline(URI, 5, 11)
        assert item["insertText"] == "sum("


def replace_settings(**changes: Any) -> Settings:
    import msgspec

    return msgspec.structs.replace(Settings(), **changes)


async def test_notifications_leave_nothing_behind(serve: Any) -> None:
    async with serve() as client:
        await client.initialize()
        await client.ready()
        client.open(URI, CODE)
        for version in range(2, 200):
            client.change(URI, version, {"text": CODE})
        await client.inline(URI, 5, 11)
        assert len(client.server.protocol._request_futures) < 5
