"""The remote engine against a real server process on loopback (completions_server.py)."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.documents import Document
from engine.errors import EngineStopped, RemoteFailed, SteerwayError
from engine.request import Cancel, Request, Suggestion
from engine.runtime.completions import endpoint, shown
from engine.runtime.remote import RemoteEngine

REQUEST = Request(
    prefix="from ledger import Book\n\n\ndef refund(cents, reason):\n    book = Book()\n    book.",
    suffix="\n    return book\n",
    path="refund.py",
    repository="shop",
    documents=(Document("docs/ledger.md", "# Ledger\n\nbook.enter(amount_cents=1)\n", "api"),),
)


@contextmanager
def serve(*arguments: str) -> Iterator[str]:
    script = Path(__file__).with_name("completions_server.py")
    process = subprocess.Popen([sys.executable, str(script), *arguments], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout:
        port = process.stdout.readline().strip()
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with serve() as address:
        yield address


Suggest = Callable[..., Suggestion]


@pytest.fixture
def suggest(server: str) -> Iterator[Suggest]:
    """Ask the server in a mode; engines are closed after the test."""
    engines: list[RemoteEngine] = []

    def ask(
        mode: str, request: Request = REQUEST, *, model: str = "qwen2.5-coder", **options: Any
    ) -> Suggestion:
        engines.append(
            RemoteEngine(f"{server}/{mode}", model, read_timeout_s=options.pop("read_timeout_s", 30))
        )
        return engines[-1].suggest(request, **options)

    yield ask
    for engine in engines:
        engine.close()


def log(server: str, mode: str) -> list[dict[str, Any]]:
    with urllib.request.urlopen(f"{server}/log") as answer:
        return [entry for entry in json.load(answer) if entry["mode"] == mode]


def eventually(condition: Callable[[], bool]) -> bool:
    for _ in range(500):
        if condition():
            return True
        time.sleep(0.01)
    return False


def test_a_suggestion_streams_in_and_ends_at_the_statement(server: str, suggest: Suggest) -> None:
    seen: list[str] = []
    suggestion = suggest("ok", on_text=seen.append)
    assert suggestion.text == "enter(amount_cents=cents, memo=reason)"
    assert suggestion.stop == "statement"
    assert suggestion.layout == "repo/fim"
    assert suggestion.model == "qwen2.5-coder"
    assert seen[-1] == suggestion.text
    assert all(suggestion.text.startswith(text) for text in seen)


def test_a_known_family_is_asked_with_its_own_markers(server: str, suggest: Suggest) -> None:
    suggest("ok")
    prompt = log(server, "ok")[-1]["body"]["prompt"]
    assert prompt.startswith("<|repo_name|>shop\n<|file_sep|>docs/ledger.md\n# Ledger\n")
    assert prompt.endswith("    book.<|fim_suffix|>\n    return book\n<|fim_middle|>")
    assert "suffix" not in log(server, "ok")[-1]["body"]


def test_an_unknown_family_is_asked_with_the_protocol_s_suffix(server: str, suggest: Suggest) -> None:
    suggestion = suggest("ok", model="house-model")
    body = log(server, "ok")[-1]["body"]
    assert body["suffix"] == "\n    return book\n"
    assert body["prompt"].startswith("# docs/ledger.md\n# # Ledger\n")
    assert body["prompt"].endswith("    book.")
    assert suggestion.layout == "comments/suffix"


@pytest.mark.parametrize(
    "model", ["qwen2.5-coder", "starcoder2", "codellama", "deepseek-coder", "house-model"]
)
def test_control_tokens_in_user_text_arrive_broken(server: str, suggest: Suggest, model: str) -> None:
    def prompt(text: str) -> str:
        document = Document("notes.md", text, "note")
        suggest("ok", replace(REQUEST, prefix=f"x = '{text}'\ny = ", documents=(document,)), model=model)
        return str(log(server, "ok")[-1]["body"]["prompt"])

    literal = "<|fim_middle|> <fim_suffix> <｜fim▁end｜> ▁<MID> <|endoftext|> </s> <file_sep> <|file_sep|>"
    harmless, sent = prompt("words"), prompt(literal)
    for marker in literal.split():
        assert sent.count(marker) == harmless.count(marker)
    assert "< |fim_middle|>" in sent


def test_usage_is_reported_when_the_server_tells_it(suggest: Suggest) -> None:
    suggestion = suggest("ok", replace(REQUEST, suffix="", stop_at="block"))
    assert (suggestion.tokens_computed, suggestion.tokens_reused) == (10, 30)
    assert suggestion.tokens_generated == 11


def test_a_server_that_does_not_stream_is_understood(suggest: Suggest) -> None:
    assert suggest("json").text == "enter(amount_cents=cents, memo=reason)"


def test_characters_cut_across_packets_arrive_whole(suggest: Suggest) -> None:
    assert suggest("split", replace(REQUEST, prefix="x = ")).text == "'é😀'"


def test_a_control_token_in_the_answer_ends_it(suggest: Suggest) -> None:
    suggestion = suggest("marker")
    assert (suggestion.text, suggestion.stop) == ("enter(1)", "eos")


def test_an_empty_answer_is_an_empty_suggestion(suggest: Suggest) -> None:
    suggestion = suggest("empty")
    assert (suggestion.text, suggestion.stop) == ("", "empty")


def test_a_cancel_ends_the_answer_and_closes_the_connection(server: str, suggest: Suggest) -> None:
    cancel = Cancel()
    seen: list[str] = []

    def take(text: str) -> None:
        seen.append(text)
        if len(seen) == 3:
            cancel.set()

    suggestion = suggest("endless", on_text=take, cancel=cancel)
    assert (suggestion.stop, suggestion.text) == ("cancelled", "")
    assert len(seen) == 3
    assert eventually(lambda: log(server, "endless")[-1].get("gone", False))


@pytest.mark.parametrize("mode", ["hang", "silent"])
def test_a_cancel_does_not_wait_for_a_silent_server(server: str, suggest: Suggest, mode: str) -> None:
    cancel = Cancel()
    threading.Timer(0.2, cancel.set).start()
    assert suggest(mode, cancel=cancel).stop == "cancelled"
    assert eventually(lambda: log(server, mode)[-1].get("gone", False))


def test_the_time_ends_an_answer_with_what_there_is(suggest: Suggest) -> None:
    for budget in (300, 1_000, 10_000):  # a busy machine may need longer for the first word
        suggestion = suggest("hang", replace(REQUEST, budget_ms=budget))
        assert suggestion.stop == "time"
        if suggestion.text:
            break
    assert suggestion.text == "enter("


def test_a_finished_statement_closes_the_connection(server: str, suggest: Suggest) -> None:
    suggestion = suggest("endless")
    assert (suggestion.text, suggestion.stop) == ("word0 + word1 + word2 + word3 + word4", "statement")
    assert eventually(lambda: log(server, "endless")[-1].get("gone", False))


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        ("nowhere", "has no such model"),
        ("html", "answered text/html, not a completion"),
        ("malformed", "sent what is not JSON"),
        ("shapeless", "without choices"),
        ("failing", "out of memory"),
        ("drop", "broke"),
        ("early", "ended its answer early"),
        ("busy", "HTTP 503 (Loading model)"),
        ("moved", "points elsewhere"),
        ("key", "refused the key: HTTP 401"),
    ],
)
def test_a_failure_is_one_clear_line(suggest: Suggest, mode: str, message: str) -> None:
    with pytest.raises(RemoteFailed) as caught:
        suggest(mode, replace(REQUEST, suffix="", stop_at="block"))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.hint


def test_a_silent_server_is_given_up(suggest: Suggest) -> None:
    with pytest.raises(RemoteFailed, match="went silent"):
        suggest("silent", read_timeout_s=0.2)


def test_a_refused_connection_says_where(suggest: Suggest) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://user:secret@127.0.0.1:{free.getsockname()[1]}"
    engine = RemoteEngine(url, "m")
    with pytest.raises(RemoteFailed, match=r"nothing answers at http://127\.0\.0\.1:\d+/v1") as caught:
        engine.suggest(REQUEST)
    assert "secret" not in str(caught.value)
    engine.close()


def test_the_key_comes_from_the_environment(
    server: str, suggest: Suggest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STEERWAY_REMOTE_KEY", "right-key")
    assert suggest("key").text
    monkeypatch.setenv("STEERWAY_REMOTE_KEY", "wrong-key")
    with pytest.raises(RemoteFailed, match="STEERWAY_REMOTE_KEY") as caught:
        suggest("key")
    assert "wrong-key" not in str(caught.value)
    monkeypatch.delenv("STEERWAY_REMOTE_KEY")
    suggest("ok")
    assert log(server, "ok")[-1]["authorization"] is None


def test_without_a_name_the_server_s_first_model_is_used(server: str) -> None:
    engine = RemoteEngine(f"{server}/ok/")
    assert (engine.info.model, engine.info.family) == ("qwen2.5-coder-served", "qwen")
    assert engine.info.context_tokens == 2048
    engine.close()
    with pytest.raises(EngineStopped):
        engine.suggest(REQUEST)
    engine.close()
    nothing = RemoteEngine(f"{server}/nomodels")
    with pytest.raises(RemoteFailed, match="lists no model"):
        nothing.info
    nothing.close()


def test_a_plan_needs_no_server() -> None:
    engine = RemoteEngine("http://127.0.0.1:9", "starcoder2", context_tokens=200)
    plan = engine.plan(
        replace(REQUEST, documents=(Document("a.md", "word " * 400, "note"), *REQUEST.documents))
    )
    assert plan.prompt_tokens <= 200 - REQUEST.max_tokens
    assert [use.origin for use in plan.documents] == ["skipped", "computed"]
    engine.close()


def test_answers_come_one_after_the_other_over_one_engine(server: str) -> None:
    engine = RemoteEngine(f"{server}/ok", "qwen2.5-coder")
    assert len({engine.suggest(REQUEST).text for _ in range(5)}) == 1
    engine.close()


def test_addresses_are_taken_as_people_write_them() -> None:
    for written in (
        "http://h:1",
        "http://h:1/",
        "http://h:1/v1",
        "http://h:1/v1/",
        "http://h:1/v1/completions",
    ):
        assert endpoint(written) == "http://h:1/v1"
    assert shown("https://a:b@h:1/x/v1?key=c") == "https://h:1/x/v1"
    for wrong in ("ftp://h", "http://[::1", "http://h:port", "http://"):
        with pytest.raises(SteerwayError) as caught, closing(RemoteEngine(wrong, "m")) as engine:
            engine.suggest(REQUEST)
        assert caught.value.hint


def test_a_key_that_cannot_be_sent_is_said_so(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEERWAY_REMOTE_KEY", "schlüssel")
    engine = RemoteEngine(f"{server}/ok", "m")
    with pytest.raises(SteerwayError, match="characters that no key has") as caught:
        engine.suggest(REQUEST)
    engine.close()
    assert "schlüssel" not in str(caught.value)


def test_text_that_is_not_unicode_is_sent_all_the_same(suggest: Suggest) -> None:
    assert suggest("ok", replace(REQUEST, prefix=REQUEST.prefix + "\ud800")).text


@pytest.mark.model
def test_a_real_model_behind_a_real_server(small_model: Path) -> None:
    with serve(str(small_model)) as address:
        engine = RemoteEngine(f"{address}/model", "smollm2-135m")
        request = Request(prefix="def add(a, b):\n    return a +", suffix="", path="a.py", max_tokens=8)
        assert engine.suggest(request).text.strip() == "b"
        engine.close()
