"""Token budget: who is cut, where, and that it is always shown."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))

from word_tokenizer import WordTokenizer

from engine.documents import Document
from engine.errors import ContextTooLong
from engine.prompt import Prompt, assemble, budget
from engine.prompt.layouts import QWEN
from engine.request import Request

TOKENIZER = WordTokenizer(QWEN)


def lines(count: int, text: str = "line") -> str:
    return "".join(f"{text} {i}\n" for i in range(count))


def encode(text: str) -> list[int]:
    return TOKENIZER.encode(text, special=False)


def prompt(request: Request, context_tokens: int) -> Prompt:
    return assemble(request, TOKENIZER, QWEN, context_tokens=context_tokens)


def documents(*sizes: int) -> tuple[Document, ...]:
    return tuple(Document(f"{i}.md", lines(size, "text"), "note") for i, size in enumerate(sizes))


def test_the_least_relevant_document_is_cut_first_and_every_cut_is_shown() -> None:
    request = Request("x = 1\ny = ", "\nz\n", path="a.py", documents=documents(30, 30, 30))
    whole = prompt(request, 4000)
    assert [use.cut_tokens for use in whole.uses] == [0, 0, 0]
    cut = prompt(request, len(whole.tokens) - 300)
    assert [use.cut_tokens > 0 for use in cut.uses] == [True, True, False]
    assert cut.uses[0].origin == "skipped"
    assert cut.uses[0].tokens == 0
    assert cut.uses[0].cut_line is None
    assert cut.uses[1].origin == "computed"
    assert cut.uses[1].tokens + cut.uses[1].cut_tokens == whole.uses[1].tokens
    assert cut.plan.documents == cut.uses


def test_a_cut_document_keeps_its_first_lines_whole() -> None:
    request = Request("y = ", "", path="a.py", documents=documents(100))
    made = prompt(request, 400)
    segment = next(part for part in made.segments if part.kind == "document")
    kept = segment.text.split("\n")
    assert kept[-1] == ""
    assert made.uses[0].cut_line == len(kept) - 1
    assert kept[-2] == f"text {len(kept) - 3}"
    assert f"text {len(kept) - 2}\n" not in made.plan.text


def test_lines_near_the_cursor_stay_and_far_ones_are_counted() -> None:
    request = Request(lines(200) + "here = ", "\n" + lines(200), path="a.py")
    made = prompt(request, 300)
    assert len(made.tokens) <= 300
    assert "line 199\nhere = <|fim_suffix|>\nline 0\n" in made.plan.text
    kept = made.plan.text.count("line ")
    assert made.plan.file_cut_lines >= 400 - kept
    assert made.plan.file_tokens == len(made.tokens) - 3


def test_the_file_never_loses_more_than_half_to_documents() -> None:
    request = Request(lines(100) + "here = ", "", path="a.py", documents=documents(500))
    made = prompt(request, 1000)
    assert 350 <= made.plan.file_tokens <= 550
    assert made.uses[0].tokens >= 400


def test_typing_moves_a_cut_in_steps_not_with_every_character() -> None:
    request = Request(lines(300) + "here = ", "\n" + lines(300), path="a.py", documents=documents(100, 100))
    cuts = set()
    for length in range(len(typed := "book.enter(amount_cents=cents, memo=reason)") + 1):
        made = prompt(replace(request, prefix=request.prefix + typed[:length]), 1000)
        parts = [part for part in made.segments if part.kind in ("document", "prefix", "suffix")]
        cuts.add(tuple((part.kind, part.tokens[:20]) for part in parts) + tuple(made.uses))
    assert len(cuts) <= 2


def test_a_line_too_long_is_cut_at_its_far_end() -> None:
    made = prompt(Request("z" * 100_000 + "end", "s" * 100_000, path="a.js"), 300)
    assert len(made.tokens) <= 300
    assert "zend<|fim_suffix|>s" in made.plan.text


def test_only_a_prompt_without_room_for_the_cursor_is_refused() -> None:
    request = Request("a" * 20, "\nrest", path="a.py", documents=documents(3))

    def fits(context_tokens: int) -> bool:
        try:
            made = prompt(request, context_tokens)
        except ContextTooLong:
            return False
        assert len(made.tokens) <= context_tokens
        assert "a" * 20 in made.plan.text
        return True

    smallest = next(n for n in range(200) if fits(n))
    assert smallest < 50
    assert all(fits(n) for n in range(smallest, 200))


@pytest.mark.parametrize("context_tokens", [-5, 0, 1])
def test_no_room_at_all_is_one_clear_error(context_tokens: int) -> None:
    with pytest.raises(ContextTooLong, match="does not fit"):
        prompt(Request("x", "y"), context_tokens)


def test_a_request_may_ask_for_less_context() -> None:
    made = prompt(Request(lines(100), "", context_tokens=100), 4000)
    assert len(made.tokens) <= 100
    assert made.plan.budget_tokens == 100


@given(
    st.text(max_size=300),
    st.text(max_size=300),
    st.lists(st.text(max_size=400), max_size=4),
    st.integers(40, 400),
    st.sampled_from([None, "repo", "comments", "docstring", "repo/fim", "comments/newline"]),
)
def test_any_text_fits_and_every_token_is_accounted_for(
    prefix: str, suffix: str, texts: list[str], context_tokens: int, layout: str | None
) -> None:
    given_documents = tuple(Document(f"{i}.md", text, "doc") for i, text in enumerate(texts))
    request = Request(prefix, suffix, path="a.py", documents=given_documents, layout=layout)
    try:
        made = prompt(request, context_tokens)
    except ContextTooLong:
        return
    assert len(made.tokens) <= context_tokens
    assert made.plan.prompt_tokens == len(made.tokens)
    assert len(made.uses) == len(texts)
    placed = sum(len(part.tokens) for part in made.segments if part.kind == "document")
    assert sum(use.tokens for use in made.uses) == placed
    skipped = [use for use in made.uses if use.origin == "skipped"]
    assert all(use.cut_tokens and not use.tokens for use in skipped)
    if not made.plan.file_cut_lines and "�" not in made.plan.text:
        assert prefix[-10:] in made.plan.text


@given(st.text(alphabet="ab\n ", max_size=400), st.integers(0, 100))
def test_windows_are_ends_of_the_text(text: str, limit: int) -> None:
    for window, end in ((budget.before(text, limit, encode), -1), (budget.after(text, limit, encode), 1)):
        kept = b"".join(map(TOKENIZER.piece, window.tokens)).decode()
        assert len(window.tokens) <= limit
        assert text.endswith(kept) if end < 0 else text.startswith(kept)


@given(st.lists(st.text(alphabet="ab (", max_size=12), max_size=80), st.integers(1, 200))
def test_the_prefix_is_kept_without_gaps_and_counted(rows: list[str], limit: int) -> None:
    prefix = "\n".join(rows)
    window = budget.before(prefix, limit, encode)
    kept = b"".join(map(TOKENIZER.piece, window.tokens)).decode()
    assert prefix.endswith(kept)
    if len(prefix) - len(kept) == window.cut_characters:
        assert window.cut_lines + kept.count("\n") == prefix.count("\n")
    assert window.cut_lines == 0 or not kept or limit >= len(window.tokens) > 0


@given(st.lists(st.integers(0, 300), max_size=6), st.integers(0, 600))
def test_allotments_serve_the_last_first(wanted: list[int], room: int) -> None:
    given_tokens = budget.allot(wanted, room)
    assert sum(given_tokens) <= room
    assert all(part <= want for part, want in zip(given_tokens, wanted, strict=True))
    short = [i for i, (part, want) in enumerate(zip(given_tokens, wanted, strict=True)) if part < want]
    assert all(given_tokens[i] == 0 for i in range(max(short))) if short else True


def test_documents_get_no_more_than_their_own_budget() -> None:
    long = Document("docs/long.md", "\n".join(f"line {n} of the page" for n in range(200)))
    request = Request(prefix="x = ", suffix="\n", path="a.py", documents=(long,), document_tokens=100)
    plan = assemble(request, TOKENIZER, QWEN, context_tokens=4096).plan
    assert 50 < plan.documents[0].tokens <= 100
    assert plan.documents[0].cut_tokens > 0


def test_the_edited_file_gets_no_more_than_its_own_budget() -> None:
    """A first request in a long file must not cost the whole context."""
    request = Request(prefix=lines(500) + "x = ", suffix="\n" + lines(500), path="a.py", file_tokens=128)
    plan = assemble(request, TOKENIZER, QWEN, context_tokens=4096).plan
    assert 64 < plan.file_tokens <= 128
    assert plan.file_cut_lines > 800
