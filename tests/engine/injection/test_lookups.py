"""What the tokens of a prompt look up: against prompts made by hand, and as the prompt's order has it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from word_tokenizer import WordTokenizer

from engine.decode.heal import Vocabulary
from engine.documents import Document
from engine.injection.growing import Written
from engine.injection.lookups import Known, being_written, find
from engine.injection.prompt import Reader, offsets
from engine.kv.gate import Repair
from engine.prompt import Composition, Prompt, Segment, assemble
from engine.prompt.layouts import PLAIN, QWEN
from engine.request import Plan, Request
from engine.runtime import arrangement
from engine.runtime.looking import places
from engine.usedef import analyse

TOKENIZER = WordTokenizer(QWEN)
FILE = """import os

def area(width, height):
    size = width * height
    |
    return size


def late(size):
    return area(size, size), os
"""
REQUEST = Request(*FILE.split("|"), path="area.py")
DOCUMENT = Document("other.py", "width = size = os = 1\nprint(width)\n", kind="source")


def named(text: str) -> list[tuple[int, int]]:
    """One token a character."""
    return [(at, at + 1) for at in range(len(text))]


def shown(text: str, known: Known) -> set[str]:
    """With one token a character: name and the lines of use and definitions."""

    def line(at: int) -> int:
        return text.count("\n", 0, at) + 1

    return {
        f"{one.use.text} {line(one.at)} -> {' '.join(str(line(at)) for at in one.definitions)}"
        for one in known.lookups
    }  # fmt: skip


def known_of(text: str) -> tuple[str, Known]:
    before, after = text.split("|")
    return before + after, find(
        analyse(before + after, "python", hole=len(before)), named(before + after), cursor=len(before)
    )


def test_uses_look_up_their_definitions() -> None:
    text, known = known_of(FILE)
    found = shown(text, known)
    assert {
        "width 4 -> 3",
        "height 4 -> 3",
        "size 6 -> 4",
        "size 10 -> 9",
        "area 10 -> 3",
        "os 10 -> 1",
    } <= found
    # Uses are found behind their last token, definitions at theirs.
    width = next(one for one in known.lookups if one.use.text == "width")
    assert text[width.at - 4 : width.at + 1] == text[width.definitions[0] - 4 : width.definitions[0] + 1]
    assert set(known.names) >= {"width", "height", "size", "os", "area", "late"}
    at_cursor = known.names["size"].definitions
    assert [text.count("\n", 0, at) + 1 for at in at_cursor] == [4]


def test_the_beginning_of_a_name_looks_up_the_name_that_it_is() -> None:
    """As a program that reads from left to right, which does not know where a name ends."""
    text, known = known_of("def f(a, ab, b):\n    a = ab\n    return ab.a, b|\n")
    found = shown(text, known)
    assert {"a 2 -> 1", "ab 2 -> 1", "a 3 -> 2", "ab 3 -> 1", "b 3 -> 1"} == found
    twice = [one.at for one in known.lookups if one.use.text == "a" and one.at > text.index("return")]
    assert len(twice) == 1  # not the one behind the dot


def test_what_binds_a_name_again_looks_up_what_it_was() -> None:
    text, known = known_of("def f(x):\n    x = x + 1\n    x = x * 2\n    return x|\n")
    assert shown(text, known) == {"x 2 -> 1", "x 3 -> 2", "x 4 -> 3"}
    assert sum(one.use.text == "x" for one in known.lookups) == 5


def test_definitions_that_come_later_in_token_order_are_left_out() -> None:
    text = "def f(n):\n    while n:\n        use(n)\n        \n        n = next(n)\n"
    hole = text.index("        \n") + 8
    use = text.index("use(n)") + 4
    analysis = analyse(text, "python", hole=hole)
    middle_last = [*named(text)[:hole], *named(text)[hole:]]
    found = {one.at: one.definitions for one in find(analysis, middle_last, cursor=hole).lookups}
    assert found[use] == (text.index("n)"),)  # not the one that the loop brings round
    suffix_first = [*named(text)[hole:], *named(text)[:hole]]
    found = {one.at: one.definitions for one in find(analysis, suffix_first, cursor=hole).lookups}
    moved = len(text) - hole
    assert found[moved + use] == (text.rindex("n =") - hole, moved + text.index("n)"))


@pytest.mark.parametrize(
    ("before", "word"),
    [
        ("total", "total"), ("x.total", ""), ("x. total", ""), ("p->total", ""), ("Kind::total", ""),
        ("a..total", "total"), ("...total", "total"), ("(total", "total"), ("total ", ""), ("9total", ""),
        ("größe", "größe"), ("", ""), ("a" * 9, "a" * 9),
    ],
)  # fmt: skip
def test_the_word_that_is_being_written(before: str, word: str) -> None:
    assert being_written(before) == word


# Prompts


def prompt_of(request: Request, **options: object) -> Prompt:
    return assemble(request, TOKENIZER, QWEN, context_tokens=4000, **options)  # type: ignore[arg-type]


def tokens_at(made: Prompt, known: Known) -> set[tuple[str, int, tuple[int, ...]]]:
    return {(one.use.text, one.at, one.definitions) for one in known.lookups}


def spelled(made: Prompt, at: int, size: int) -> str:
    """The prompt's text that ends with token `at`."""
    return TOKENIZER.show(made.tokens[: at + 1])[-size:]


@pytest.mark.parametrize("layout", ["repo/fim", "repo/anchor", "comments/fim", "repo/prefix"])
@pytest.mark.parametrize("composed", [False, True])
@pytest.mark.parametrize("documents", [(), (DOCUMENT,)])
def test_a_prompt_s_look_ups_are_of_the_edited_file_alone(
    layout: str, composed: bool, documents: tuple[Document, ...]
) -> None:
    request = replace(REQUEST, layout=layout, documents=documents)
    made = prompt_of(request, composed=Composition() if composed else None)
    spans = offsets(request, made, TOKENIZER.piece)
    text = request.prefix + request.suffix
    assert len(spans) == len(made.tokens)
    for token, (start, end) in zip(made.tokens, spans, strict=True):
        assert text[start:end].encode() == (TOKENIZER.piece(token) if start < end else b"")
    known = Reader().known(request, made, TOKENIZER.piece)
    found = {one.use.text for one in known.lookups}
    assert {"width", "height"} <= found
    assert ("os" in found) == ("prefix" not in layout)
    for one in known.lookups:
        assert spelled(made, one.at, len(one.use.text)) == one.use.text
        for at in one.definitions:
            assert at < one.at
            assert spelled(made, at, len(one.use.text)) == one.use.text
    inside = document_tokens(made)
    assert not inside & {at for one in known.lookups for at in (one.at, *one.definitions)}


def document_tokens(made: Prompt) -> set[int]:
    found, start = set(), 0
    for segment in made.segments:
        if segment.document is not None:
            found |= set(range(start, start + len(segment.tokens)))
        start += len(segment.tokens)
    return found


def test_a_use_before_the_cursor_does_not_see_a_definition_behind_it() -> None:
    request = Request(
        "def f():\n    return later\n\n\n", "later = 1\nuse(later)\n", path="a.py", layout="repo/fim"
    )
    known = Reader().known(request, prompt_of(request), TOKENIZER.piece)
    assert [(one.use.start > len(request.prefix)) for one in known.lookups if one.use.text == "later"] == [
        True
    ]
    assert "later" not in {  # of the two uses, the one that stands behind
        one.use.text for one in known.lookups if one.use.start < len(request.prefix)
    }


def test_a_healed_word_is_looked_up_when_it_is_written_again() -> None:
    request = Request("def f(enter):\n    return en", "\n", path="a.py", layout="repo/fim")
    made = prompt_of(request, vocabulary=Vocabulary(TOKENIZER.pieces))
    assert made.heal
    known = Reader().known(request, made, TOKENIZER.piece)
    assert not known.lookups
    assert set(known.names) == {"enter", "f"}


def test_the_word_at_the_cursor_is_looked_up_as_far_as_it_goes() -> None:
    request = Request("def f(a, ab):\n    return a", "\n", path="a.py", layout="repo/fim")
    made = prompt_of(request)
    known = Reader().known(request, made, TOKENIZER.piece)
    at = [one for one in known.lookups if one.use.start == request.prefix.rindex("a")]
    assert [(one.use.text, one.names[0].start) for one in at] == [("a", request.prefix.index("a,"))]


def test_other_languages_and_segments_that_are_spelled_otherwise_have_none() -> None:
    toml = replace(REQUEST, path="a.toml", prefix="a = 1\n", suffix="b = a\n")
    assert Reader().known(toml, prompt_of(toml), TOKENIZER.piece) == Known()
    strange = Prompt((Segment("prefix", tuple(b"elsewhere")),), (), Plan((), 0, 0, 0, ""), "")
    assert offsets(REQUEST, strange, TOKENIZER.piece) == [(0, 0)] * 9
    assert Reader().known(REQUEST, strange, TOKENIZER.piece) == Known()


def test_keystrokes_are_read_as_a_fresh_file_is() -> None:
    reader = Reader()
    for prefix in ("", "a", "ab", "ab = size", "ab = size\n    é", "é"):
        request = replace(REQUEST, prefix=REQUEST.prefix + prefix)
        made = prompt_of(request)
        assert reader.known(request, made, TOKENIZER.piece) == Reader().known(request, made, TOKENIZER.piece)


@pytest.mark.parametrize("layout", ["sequential", "shared"])
def test_tokens_lie_where_the_arrangement_has_them(layout: str) -> None:
    request = replace(REQUEST, documents=(DOCUMENT, replace(DOCUMENT, name="b.py")), layout="repo/fim")
    made = prompt_of(request, composed=Composition())
    found, left_out = arrangement.pieces(made, whole, lambda segment, tokens: True)
    plan = arrangement.arrange(made, found, left_out, repair=Repair(layout=layout), linked=False)
    at = places(plan, made)
    own = [n for n, _ in enumerate(made.tokens) if n not in document_tokens(made)]
    assert sorted({at[n] for n in own}) == sorted(at[n] for n in own)
    assert all(at[n] >= 0 for n in own)
    by_place = {span.position + i: token for span in plan.spans for i, token in enumerate(span.tokens)}
    assert [by_place[at[n]] for n in own] == [made.tokens[n] for n in own]


def whole(part: object) -> tuple[object, ...]:
    from engine.kv.shelf import Stretch

    return (Stretch(None, 0, part.count),)  # type: ignore[attr-defined]


def test_what_was_left_out_lies_nowhere() -> None:
    request = replace(REQUEST, documents=(DOCUMENT,), layout="repo/fim")
    made = prompt_of(request, composed=Composition())
    found, left_out = arrangement.pieces(made, whole, lambda segment, tokens: segment.document is None)
    at = places(arrangement.arrange(made, found, left_out, repair=Repair(), linked=False), made)
    assert left_out
    for number in document_tokens(made):
        assert at[number] == -1 or made.segments[0].document is None


# Generation


def writing(before: str, names: dict[str, list[int]], *parts: str) -> tuple[Written, Iterator[list[object]]]:
    tokens = {number: part.encode() for number, part in enumerate(parts)}
    written = Written(before.encode(), names, tokens.__getitem__)
    return written, iter([list(written.add([number])[0]) for number in tokens])


def test_generated_identifiers_look_themselves_up() -> None:
    names = {"total": [5], "to": [2, 3]}
    written, edges = writing("    x = ", names, "to", "tal", ".to", " total", "s", " + to")
    assert list(edges) == [[2, 3], [5], [], [5], [], [2, 3]]
    assert written.found == [(2, "to"), (5, "total"), (14, "total"), (20, "to")]
    assert written.text == b"total.to totals + to"


def test_a_word_begun_before_the_cursor_goes_on() -> None:
    assert list(writing("return to", {"total": [5]}, "tal")[1]) == [[5]]
    assert list(writing("return x.to", {"total": [5]}, "tal")[1]) == [[]]


def test_drafts_that_are_taken_back_leave_nothing() -> None:
    names = {"total": [5]}
    written, _ = writing("", names, "total", " ", "total")
    written.take_back(2)
    assert (written.text, written.found) == (b"total", [(5, "total")])
    assert [list(one) for one in written.add([1, 2])] == [[], [5]]


def test_half_a_character_is_no_name() -> None:
    written = Written(b"", {"é": [1]}, {0: "é".encode()[:1], 1: "é".encode()[1:]}.__getitem__)
    assert [list(one) for one in written.add([0, 1])] == [[], [1]]


def test_a_plain_model_s_prompt_has_look_ups_too() -> None:
    tokenizer = WordTokenizer(PLAIN)
    made = assemble(REQUEST, tokenizer, PLAIN, context_tokens=4000)
    known = Reader().known(REQUEST, made, tokenizer.piece)
    assert {one.use.text for one in known.lookups} == {"width", "height"}
