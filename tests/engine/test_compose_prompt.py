"""Composed prompts: the same text is the same units, and only what is at the cursor is computed."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))

from word_tokenizer import FAMILIES, WordTokenizer

from engine.decode.heal import Vocabulary
from engine.documents import Document
from engine.errors import ContextTooLong
from engine.prompt import Composition, Family, Prompt, Segment, Tokenizer, Unit, assemble, detect
from engine.prompt.edited import WINDOW_CHARACTERS
from engine.prompt.layouts import PLAIN, QWEN
from engine.request import Request

TOKENIZER = WordTokenizer(QWEN)
VOCABULARY = Vocabulary(TOKENIZER.pieces)
ROOM = 1 << 20
SOURCE = "".join(
    f"def enter_{i}(book, amount):\n    # É {i}.\n    entry = book.enter(amount)\n\n    return entry\n\n\n"
    for i in range(40)
)


def prompt(
    request: Request,
    *,
    context_tokens: int = ROOM,
    composition: Composition = Composition(),  # noqa: B008 - frozen
    tokenizer: Tokenizer = TOKENIZER,
    family: Family = QWEN,
) -> Prompt:
    return assemble(request, tokenizer, family, context_tokens=context_tokens, composed=composition)


def at(cursor: int, text: str = SOURCE, **options: object) -> Request:
    return replace(
        Request(text[:cursor], text[cursor:], path="a.py", repository="shop", layout="repo/fim"),
        **options,  # type: ignore[arg-type]
    )


def text_of(segments: list[Segment]) -> str:
    return TOKENIZER.show(tuple(token for segment in segments for token in segment.tokens))


def file_of(made: Prompt, kind: str) -> list[Segment]:
    return [segment for segment in made.segments if segment.kind == kind]


def documents(*names: str, size: int = 12) -> tuple[Document, ...]:
    return tuple(
        Document(name, "".join(f"def {name[0]}_{i}():\n    return {i}\n\n\n" for i in range(size)), "source")
        for name in names
    )


def units(made: Prompt, name: str) -> set[Unit]:
    return {unit for unit in made.units if unit.name == name}


def slices_are_right(made: Prompt) -> None:
    for segment in made.segments:
        part = segment.slice
        assert (part is None) == (segment.part in ("header", "near", "marker"))
        if part is not None:
            assert segment.tokens == part.unit.tokens[part.first : part.first + part.count]
            assert len(segment.tokens) == part.count > 0
    assert made.segments[0].part == "header"
    assert made.segments[0].tokens
    assert made.segments[-1].slice is None


def test_a_composed_prompt_reads_like_a_file_of_a_repository() -> None:
    source = "x = 1\n\n\ndef f():\n    return x\n"
    made = prompt(at(source.index("return x"), source, documents=documents("b.py", size=1)))
    assert made.plan.text == TOKENIZER.show(made.tokens)
    assert made.plan.text == (
        "<|repo_name|>shop\n<|file_sep|>b.py\ndef b_0():\n    return 0\n\n\n<|file_sep|>a.py\n"
        "<|fim_prefix|>x = 1\n\n\ndef f():\n    <|fim_suffix|>return x\n<|fim_middle|>"
    )
    assert [segment.part for segment in made.segments] == [
        "header",
        "document",
        "file",
        "marker",
        "near",
        "marker",
        "near",
        "marker",
    ]
    slices_are_right(made)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, len(SOURCE)), st.sampled_from([None, 200, 600]), st.integers(4, 64))
def test_slices_and_near_lines_are_a_stretch_of_the_file(cursor: int, file: int | None, near: int) -> None:
    made = prompt(at(cursor, file_tokens=file), composition=Composition(near_tokens=near))
    slices_are_right(made)
    before, after = text_of(file_of(made, "prefix")), text_of(file_of(made, "suffix"))
    assert SOURCE[:cursor].endswith(before)
    assert SOURCE[cursor:].startswith(after)
    shown = before.count("\n") + after.count("\n")
    assert made.plan.file_cut_lines == SOURCE.count("\n") - shown
    assert file is None or made.plan.file_tokens <= max(file, 64)
    if file is None:
        assert before + after == SOURCE


@settings(max_examples=50, deadline=None)
@given(st.integers(0, len(SOURCE)), st.integers(0, len(SOURCE)), st.permutations(["b.py", "c.py", "d.md"]))
def test_the_same_text_is_the_same_units_whatever_the_cursor_and_the_step(
    first: int, second: int, names: list[str]
) -> None:
    one = prompt(at(first, documents=documents("b.py", "c.py")))
    other = prompt(at(second, documents=documents(*names)))
    for name in ("a.py", "b.py", "c.py"):
        assert units(one, name) == units(other, name)
        assert units(one, name)


def test_the_edited_file_and_the_same_file_as_a_document_are_the_same_units() -> None:
    edited = prompt(at(300))
    document = prompt(at(0, "", path="b.py", documents=(Document("a.py", SOURCE, "source"),)))
    assert units(edited, "a.py") == units(document, "a.py")


def test_units_are_chained_within_their_document() -> None:
    made = prompt(at(900, documents=documents("b.py", "c.py")))
    for unit in made.units:
        chain = unit.chain()
        assert {link.name for link in chain} == {unit.name}
        assert [link.title > 0 for link in chain] == [True] + [False] * (len(chain) - 1)
        assert unit.offset == sum(len(link.tokens) for link in chain[:-1])
    file = sorted(units(made, "a.py"), key=lambda unit: unit.offset)
    assert len({unit.digest for unit in file}) == len(file) > 2
    text = TOKENIZER.show(tuple(token for unit in file for token in unit.tokens))
    assert text == f"<|file_sep|>a.py\n{SOURCE}"


def test_a_long_text_is_several_chains_that_each_begin_with_its_name() -> None:
    made = prompt(at(len(SOURCE) - 40), composition=Composition(chain_tokens=400))
    first = [unit for unit in made.units if unit.previous is None]
    assert len(first) > 1
    assert {unit.tokens[: unit.title] for unit in first} == {first[0].tokens[: first[0].title]}
    assert text_of(file_of(made, "prefix")) + text_of(file_of(made, "suffix")) == SOURCE
    assert made.plan.text.count("<|file_sep|>") == 1
    slices_are_right(made)


def test_pairs_are_chained_and_others_are_not() -> None:
    request = at(300, documents=documents("b.py", "c.py", "d.py"))
    made = prompt(request, composition=Composition(pairs=True))
    alone = prompt(request)
    last = max(units(made, "b.py"), key=lambda unit: unit.offset)
    assert min(units(made, "c.py"), key=lambda unit: unit.offset).previous == last
    assert units(made, "b.py") == units(alone, "b.py")
    assert units(made, "d.py") == units(alone, "d.py")
    assert units(made, "c.py").isdisjoint(units(alone, "c.py"))
    assert made.tokens == alone.tokens


def computed(made: Prompt) -> list[tuple[str, tuple[int, ...]]]:
    return [(part.kind, part.tokens) for part in made.segments if part.slice is None]


def placed(made: Prompt) -> list[tuple[str, tuple[int, ...]]]:
    return [(part.kind, part.tokens) for part in made.segments if part.slice is not None]


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 1200), st.text("ab (.:#\"'", min_size=1, max_size=12), st.sampled_from([None, 3000]))
def test_typing_a_character_changes_near_tokens_only(cursor: int, typed: str, attention: int | None) -> None:
    """The cursor's line may become another line; what is placed stays, but for a cut that it may move."""
    text = SOURCE[:3000]
    composition = Composition(attention_tokens=attention)
    request = at(cursor, text, documents=documents("b.py", "c.py"), file_tokens=2000)
    before = prompt(request, composition=composition)
    moved = 0
    for end in range(1, len(typed) + 1):
        after = prompt(replace(request, prefix=request.prefix + typed[:end]), composition=composition)
        if placed(after) != placed(before):
            moved += 1
            assert flat(after, "prefix") == flat(before, "prefix")
            assert flat(after, "suffix") == flat(before, "suffix")
        assert computed(after) != computed(before)
        before = after
    assert moved <= 4


def flat(made: Prompt, kind: str) -> tuple[int, ...]:
    """The placed tokens of a kind, however they are cut into units."""
    return tuple(token for part in made.segments if part.kind == kind and part.slice for token in part.tokens)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_typing_a_line_on_a_blank_one_moves_nothing(end: str) -> None:
    text = SOURCE.replace("\n", end)
    cursor = text.index(f"amount){end}{end}", 700) + len(f"amount){end}")
    made = [prompt(at(cursor + n, text[:cursor] + "    total"[:n] + text[cursor:])) for n in range(9)]
    assert len({flat(one, "prefix") for one in made}) == 1
    assert len({flat(one, "suffix") for one in made}) == 1
    assert max(len(file_of(one, "prefix")[-1].tokens) for one in made) < 40


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("layout", ["repo", "comments", "docstring"])
@pytest.mark.parametrize("hole", ["fim", "anchor", "newline", "prefix"])
def test_every_family_and_layout_composes(name: str, layout: str, hole: str) -> None:
    family = replace(FAMILIES[name], dummy_space=False)
    tokenizer = WordTokenizer(family)
    notes = Document("notes.md", "# Notes\n\nUse `book.enter`.\n" * 40, "note")
    api = Document("api.md", "# Book\n\n```python\nbook.enter(1)\n```\n", "api")
    text = SOURCE[:1200]
    cursor = text.index("return", 500)
    request = at(
        cursor, text, documents=(notes, api, *documents("b.py")), layout=f"{layout}/{hole}", language="python"
    )
    made = prompt(request, tokenizer=tokenizer, family=family)
    exact = assemble(request, tokenizer, family, context_tokens=ROOM)
    slices_are_right(made)
    assert made.layout == exact.layout
    assert tokenizer.show(made.tokens) == made.plan.text
    assert made.plan.text.replace("\n", "").count("book.enter") == exact.plan.text.count("book.enter")
    assert [use.origin for use in made.uses] == ["computed"] * 3
    if name == "qwen" and layout == "repo":
        # Blank lines at the end of a source document stay; nothing else differs.
        assert made.plan.text.replace("\n", "") == exact.plan.text.replace("\n", "")


def test_documents_inside_the_prefix_follow_its_marker() -> None:
    notes = Document("notes.md", "words\n", "note")
    made = prompt(at(len(SOURCE), documents=(notes,), layout="comments/fim"))
    kinds = [segment.kind for segment in made.segments[:4]]
    assert kinds == ["header", "header", "marker", "document"]
    assert "<|file_sep|>a.py\n<|fim_prefix|># notes.md\n# words\n\ndef enter_0" in made.plan.text


def test_the_cursor_is_healed_within_the_near_lines() -> None:
    request = at(len("x = book.ent"), "x = book.ent", layout="repo/prefix")
    made = assemble(
        request, TOKENIZER, QWEN, context_tokens=400, vocabulary=VOCABULARY, composed=Composition()
    )
    assert made.heal == b".ent"
    assert made.plan.text.endswith("x = book")
    word = assemble(
        at(3, "ent", layout="repo/prefix"),
        TOKENIZER,
        QWEN,
        context_tokens=400,
        vocabulary=VOCABULARY,
        composed=Composition(),
    )
    assert word.heal == b"ent"
    assert word.plan.text == "<|repo_name|>shop\n<|file_sep|>a.py\n"
    assert [segment.part for segment in word.segments] == ["header", "file", "near"]
    slices_are_right(word)


def test_an_empty_file_and_a_model_without_any_marker_still_compose() -> None:
    for family in (QWEN, PLAIN):
        made = prompt(Request("", ""), tokenizer=WordTokenizer(family), family=family)
        slices_are_right(made)
        assert len(made.tokens) > 1


def test_documents_are_cut_by_relevance_and_every_cut_is_reported() -> None:
    long = "".join(f"def made_{i}():\n    return thing_{i}\n\n\n" for i in range(60))
    wanted = Document("long.py", long, "source")
    near = documents("near.py")
    text = "value = thing_57\n" * 2 + "x = \n"
    request = at(len(text) - 1, text, documents=(*documents("far.py"), wanted, *near))
    whole = prompt(request)
    tokens = sum(use.tokens for use in whole.uses)
    made = prompt(request, composition=Composition(attention_tokens=len(whole.tokens) - tokens + 1200))
    assert [use.origin for use in made.uses] == ["skipped", "computed", "computed"]
    assert [bool(use.reason) for use in made.uses] == [True, True, False]
    assert [use.tokens + use.cut_tokens for use in made.uses] == [use.tokens for use in whole.uses]
    assert made.uses[1].cut_line is not None
    assert len(made.tokens) <= made.plan.budget_tokens == len(whole.tokens) - tokens + 1200
    assert "return thing_57\n" in made.plan.text
    assert made.plan.text.count("<|file_sep|>long.py\n") == 1
    typed = prompt(
        replace(request, prefix=request.prefix + "thing_3"),
        composition=Composition(attention_tokens=len(whole.tokens) - tokens + 1200),
    )
    assert typed.uses == made.uses


def test_far_chunks_that_are_meant_take_what_the_budget_leaves() -> None:
    text = "rare_name = 1\n\n\n" + SOURCE
    cursor = text.index("enter_30(")
    text = text[:cursor] + "x = rare_name\n" + text[cursor:]
    near = at(cursor + 20, text, file_tokens=400)
    plain, more = prompt(near), prompt(near, composition=Composition(attention_tokens=900))
    assert "rare_name = 1\n" not in plain.plan.text
    assert "rare_name = 1\n" in more.plan.text
    assert more.plan.file_cut_lines < plain.plan.file_cut_lines
    slices_are_right(more)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 400), st.integers(0, 900), st.integers(0, 3))
def test_a_prompt_fits_or_says_that_it_cannot(room: int, cursor: int, count: int) -> None:
    request = at(cursor, SOURCE[:900], documents=documents("b.py", "c.py", "d.py")[:count])
    try:
        made = prompt(request, context_tokens=room)
    except ContextTooLong:
        assert room < 32 + 32
    else:
        assert len(made.tokens) <= room
        slices_are_right(made)
        assert made.segments[-2].tokens


def test_a_line_longer_than_the_context_keeps_its_end() -> None:
    text = "x = [" + "1, " * 20_000
    made = prompt(at(len(text) - 30, text), context_tokens=100)
    assert len(made.tokens) <= 100
    assert "1, 1, 1, <|fim_suffix|>" in made.plan.text
    longer = prompt(at(len(text) - 30_000, text), context_tokens=4000)
    assert len(longer.tokens) <= 4000
    assert sum(len(part.tokens) for part in longer.segments if part.part == "near") < 900


def test_of_a_huge_file_the_surroundings_of_the_cursor_take_part() -> None:
    line = "value = compute(1)\n"
    text = line * (8 * WINDOW_CHARACTERS // len(line))
    cursor = len(text) // 2 // len(line) * len(line) + 7
    made = prompt(at(cursor, text, file_tokens=500))
    shown = text_of(file_of(made, "prefix")), text_of(file_of(made, "suffix"))
    assert made.plan.file_cut_lines == text.count("\n") - sum(part.count("\n") for part in shown)
    typed = prompt(at(cursor + 1, text[:cursor] + "x" + text[cursor:], file_tokens=500))
    assert placed(typed) == placed(made)


def test_what_is_urgent_comes_first() -> None:
    made = prompt(
        at(1200, documents=documents("b.py", "c.py", size=40), file_tokens=300),
        composition=Composition(attention_tokens=2600),
    )
    order = [unit.name for unit in made.units]
    used = {
        part.slice.unit for part in made.segments if part.slice and part.slice.unit.tokens != part.tokens[:0]
    }
    assert order[0] == "c.py"
    assert len(set(made.units)) == len(made.units)
    assert {unit for part in made.segments if part.slice for unit in part.slice.unit.chain()} <= set(
        made.units
    )
    chosen = [index for index, unit in enumerate(made.units) if unit in used]
    assert max(chosen) <= len(chosen) + 1


def models(path: Path) -> tuple[Tokenizer, Family, Vocabulary]:
    from engine.runtime.llama import Model

    model = Model(path)
    return model, detect(model.metadata, model.special), Vocabulary(model.pieces())


@pytest.mark.model
@pytest.mark.parametrize("fixture", ["small_model", "default_model"])
@pytest.mark.parametrize("layout", ["repo/fim", "repo/prefix", "comments/anchor"])
def test_a_real_tokenizer_s_units_are_the_file_too(
    fixture: str, layout: str, request: pytest.FixtureRequest
) -> None:
    model, family, vocabulary = models(request.getfixturevalue(fixture))
    source = (Path(__file__).parents[2] / "engine" / "prompt" / "assemble.py").read_text("utf-8")
    text = source[:3000].replace("silently", "stîllschweigend 😀") + "\n\n    \n\t\n" + source[3000:6000]
    kept = 0
    for cursor in range(0, len(text), 211):
        asked = at(cursor, text, documents=documents("b.py"), layout=layout)
        made = assemble(
            asked, model, family, context_tokens=ROOM, vocabulary=vocabulary, composed=Composition()
        )
        slices_are_right(made)
        spelled = [b"".join(map(model.piece, part.tokens)) for part in made.segments if part.kind == "prefix"]
        assert b"".join(spelled) + made.heal == text[:cursor].encode()
        spelled = [b"".join(map(model.piece, part.tokens)) for part in made.segments if part.kind == "suffix"]
        assert b"".join(spelled) == (text[cursor:].encode() if made.layout[-6:] != "prefix" else b"")
        near = sum(len(part.tokens) for part in made.segments if part.part == "near")
        kept += near < 80
    assert kept == len(range(0, len(text), 211))


@pytest.mark.model
@pytest.mark.parametrize("fixture", ["small_model", "default_model"])
def test_typing_with_a_real_tokenizer_keeps_what_is_placed(
    fixture: str, request: pytest.FixtureRequest
) -> None:
    model, family, _ = models(request.getfixturevalue(fixture))
    text = (Path(__file__).parents[2] / "engine" / "prompt" / "assemble.py").read_text("utf-8")
    line = text.index("    limit = min(")
    typed = text[line : text.index("\n", line)]
    others = text[:line], text[line + len(typed) :]
    seen = set()
    for end in range(len(typed) + 1):
        asked = at(line + end, others[0] + typed[:end] + others[1])
        made = assemble(asked, model, family, context_tokens=ROOM, composed=Composition())
        seen.add((flat(made, "prefix"), flat(made, "suffix")))
    assert len(seen) <= 2  # the line may make its chunk too long
