"""Prompt layouts: what each family of models is shown, and that text never becomes a control token."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from word_tokenizer import FAMILIES, WordTokenizer

from engine.documents import Document
from engine.errors import UsageError
from engine.prompt import PLAIN, Family, Prompt, assemble, detect
from engine.prompt.families import model_name, named, tuned
from engine.prompt.layouts import CODELLAMA, DOCUMENT_LAYOUTS, QWEN, TREATMENTS
from engine.prompt.tokenizer import encode_text
from engine.request import Request
from engine.suggest.finish import FILTERS

DOCUMENT = Document("docs/l.md", "book.enter(1)", "api")
REQUEST = Request("def f():\n    ", "\n    return x\n", path="a.py", repository="shop", documents=(DOCUMENT,))


def prompt(family: Family, request: Request = REQUEST, **options: object) -> tuple[str, Prompt]:
    """The prompt as text, control tokens by name."""
    tokenizer = WordTokenizer(family, **options)  # type: ignore[arg-type]
    made = assemble(request, tokenizer, family, context_tokens=4096)
    return tokenizer.show(made.tokens), made


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "qwen",
            "<|repo_name|>shop\n<|file_sep|>docs/l.md\nbook.enter(1)\n<|file_sep|>a.py\n"
            "<|fim_prefix|>def f():\n    <|fim_suffix|>\n    return x\n<|fim_middle|>",
        ),
        (
            "starcoder2",
            "<repo_name>shop\n<file_sep>docs/l.md\nbook.enter(1)\n<file_sep>a.py\n"
            "<fim_prefix>def f():\n    <fim_suffix>\n    return x\n<fim_middle>",
        ),
        (
            "starcoder",
            "<reponame>shop\n<filename>docs/l.md\nbook.enter(1)\n<filename>a.py\n"
            "<fim_prefix>def f():\n    <fim_suffix>\n    return x\n<fim_middle>",
        ),
        (
            "codellama",
            "▁<PRE># docs/l.md\n# book.enter(1)\n\ndef f():\n    ▁<SUF>\n    return x\n▁<MID>",
        ),
        (
            "deepseek",
            "# docs/l.md\nbook.enter(1)\n# a.py\n"
            "<｜fim▁begin｜>def f():\n    <｜fim▁hole｜>\n    return x\n<｜fim▁end｜>",
        ),
        ("plain", "# docs/l.md\nbook.enter(1)\n# a.py\ndef f():\n    "),
    ],
)
def test_each_family_reads_documents_prefix_suffix_and_hole_its_own_way(name: str, expected: str) -> None:
    family = replace(FAMILIES[name], dummy_space=False)
    text, made = prompt(family)
    assert text == expected
    assert made.plan.text == expected
    assert made.plan.prompt_tokens == len(made.tokens)


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
@pytest.mark.parametrize("layout", ["repo", "comments", "docstring"])
def test_text_that_spells_control_tokens_stays_text(family: Family, layout: str) -> None:
    spelled = " ".join([*QWEN.markers, *CODELLAMA.markers, *family.markers])
    document = Document(f"{spelled}.md", spelled, "note")
    harmless = Document("words.md", "words", "note")
    literal = replace(REQUEST, prefix=f"'{spelled}'", suffix=spelled, documents=(document,), layout=layout)
    plain = replace(REQUEST, documents=(harmless,), layout=layout)
    leaky = {"leaky": family.markers}
    controls = [
        [token for token in made.tokens if token in set(WordTokenizer(family).markers.values())]
        for _, made in (prompt(family, literal, **leaky), prompt(family, plain, **leaky))
    ]
    assert controls[0] == controls[1]
    assert spelled in prompt(family, literal, **leaky)[0]


@pytest.mark.parametrize("spelling", ["[SUFFIX]", "<a b>", "§"])
def test_a_control_token_spelled_unlike_others_stays_text_too(spelling: str) -> None:
    """Some models write theirs in square brackets, and llama.cpp parses those of attribute USER_DEFINED."""
    tokenizer = WordTokenizer(replace(QWEN, middle=spelling), leaky=(spelling,))
    control = tokenizer.markers[spelling]
    assert control in tokenizer.encode(f"x {spelling} y", special=False)
    tokens = encode_text(tokenizer, f"x {spelling} y", control={control})
    assert control not in tokens
    assert tokenizer.show(tuple(tokens)) == f"x {spelling if len(spelling) > 1 else ''} y"


@pytest.mark.parametrize("layout", ["repo", "docstring"])
def test_every_byte_of_text_arrives(layout: str) -> None:
    text = "é 😀 \t<|endoftext|></s>\r\nlast"
    shown, _ = prompt(QWEN, replace(REQUEST, prefix=text, layout=layout), leaky=("<|endoftext|>",))
    assert text in shown


@pytest.mark.parametrize("blank", ["", "\n", "  \n\n\t"])
def test_an_empty_suffix_is_a_case_of_its_own(blank: str) -> None:
    request = replace(REQUEST, suffix=blank, documents=())
    for layout, expected in {
        "repo/prefix": "def f():\n    ",
        "repo/newline": "<|fim_prefix|>def f():\n    <|fim_suffix|>\n<|fim_middle|>",
        "repo/fim": f"<|fim_prefix|>def f():\n    <|fim_suffix|>{blank}<|fim_middle|>",
    }.items():
        text, made = prompt(QWEN, replace(request, layout=layout))
        assert text == expected
        assert made.layout == layout


def test_the_cursor_s_line_can_be_anchored_behind_the_middle() -> None:
    text, made = prompt(QWEN, replace(REQUEST, prefix="x = 1\nbook.", documents=(), layout="repo/anchor"))
    assert text == "<|fim_prefix|>x = 1\n<|fim_suffix|>\n    return x\n<|fim_middle|>book."
    assert made.plan.text == text


@pytest.mark.parametrize(
    ("suffix", "expected"),
    [("", "repo/prefix"), (" \n", "repo/prefix"), ("  \nx", "repo/anchor"), (")\n", "repo/fim")],
)
def test_what_follows_the_cursor_decides_how_the_hole_is_shown(suffix: str, expected: str) -> None:
    family = replace(QWEN, empty_suffix="prefix", line_end="anchor")
    assert prompt(family, replace(REQUEST, suffix=suffix))[1].layout == expected
    if suffix.strip():
        assert prompt(family, replace(REQUEST, suffix=suffix, documents=()))[1].layout == "repo/fim"
    assert prompt(PLAIN, replace(REQUEST, suffix=suffix))[1].layout == "repo/prefix"


def test_the_family_s_measured_choice_is_the_default_and_a_request_overrides_it() -> None:
    request = replace(REQUEST, suffix="")
    assert (
        prompt(replace(QWEN, layout="comments", empty_suffix="prefix"), request)[1].layout
        == "comments/prefix"
    )
    assert prompt(replace(QWEN, layout="comments", empty_suffix="fim"), request)[1].layout == "comments/fim"
    assert prompt(QWEN, replace(request, layout="docstring/newline"))[1].layout == "docstring/newline"
    with pytest.raises(UsageError, match="no layout 'rows'"):
        prompt(QWEN, replace(request, layout="rows"))


def test_segments_tell_what_is_what_and_documents_keep_their_tokens_anywhere() -> None:
    other = Document("b.py", "x = 1\n", "source")
    _, first = prompt(QWEN, replace(REQUEST, documents=(DOCUMENT, other)))
    _, second = prompt(QWEN, replace(REQUEST, documents=(other, DOCUMENT)))
    kinds = [segment.kind for segment in first.segments]
    assert kinds == [
        "header",
        "document",
        "document",
        "header",
        "marker",
        "prefix",
        "marker",
        "suffix",
        "marker",
    ]
    tokens = [[part.tokens for part in made.segments if part.kind == "document"] for made in (first, second)]
    assert tokens[0] == tokens[1][::-1]
    assert [segment.document for segment in first.segments if segment.kind == "document"] == [0, 1]


def test_a_document_inside_the_prefix_follows_its_marker() -> None:
    text, _ = prompt(QWEN, replace(REQUEST, layout="comments"))
    assert text == (
        "<|repo_name|>shop\n<|fim_prefix|># docs/l.md\n# book.enter(1)\n\ndef f():\n    "
        "<|fim_suffix|>\n    return x\n<|fim_middle|>"
    )


def test_bos_comes_first_and_an_empty_file_still_makes_a_prompt() -> None:
    assert prompt(CODELLAMA, bos=65)[1].tokens[0] == 65
    assert prompt(PLAIN, Request("", ""))[1].tokens


def test_markers_end_a_generation() -> None:
    _, made = prompt(QWEN)
    tokenizer = WordTokenizer(QWEN)
    assert tokenizer.markers["<|file_sep|>"] in made.stops
    assert made.stops.isdisjoint(tokenizer.eog)


def test_a_vocabulary_tells_the_family_whatever_the_name() -> None:
    for name, family in FAMILIES.items():
        found = detect({"general.name": "My Fine Tune"}, WordTokenizer(family).special)
        assert (found.name, found.markers) == (family.name, family.markers), name


def test_files_markers_without_fim_are_used_and_other_spellings_found() -> None:
    smol = {"<repo_name>": 3, "<file_sep>": 5, "<|endoftext|>": 0}
    plain = detect({"general.architecture": "llama", "tokenizer.ggml.model": "gpt2"}, smol.get)
    assert (plain.name, plain.fim, plain.separator, plain.dummy_space) == (
        "plain",
        False,
        "<file_sep>",
        False,
    )
    dashed = {"<fim-prefix>": 1, "<fim-suffix>": 2, "<fim-middle>": 3}
    assert detect({}, dashed.get).prefix == "<fim-prefix>"
    llama = {"<PRE>": 1, "<SUF>": 2, "<MID>": 3}
    assert detect({"tokenizer.ggml.model": "llama"}, llama.get).dummy_space


def test_markers_known_to_metadata_only_are_used_by_id() -> None:
    ids = {f"tokenizer.ggml.fim_{part}_token_id": 90 + i for i, part in enumerate(("pre", "suf", "mid"))}
    family = detect({"general.name": "Unheard Of"} | ids, lambda name: None)
    assert family.fim
    made = assemble(REQUEST, WordTokenizer(PLAIN), family, context_tokens=400)
    assert [token for token in made.tokens if token in (90, 91, 92)] == [90, 91, 92]


def test_measured_defaults_are_found_by_the_model_s_name() -> None:
    metadata = {"general.basename": "Qwen2.5-Coder", "general.size_label": "0.5B"}
    assert model_name(metadata) == "qwen2.5-coder-0.5b"
    assert tuned(QWEN, "qwen2.5-coder-0.5b").line_end == "prefix"
    assert tuned(PLAIN, "nothing-measured") == PLAIN
    family = named("Qwen/Qwen2.5-Coder-7B")
    assert family is not None
    assert family.name == "qwen"
    assert named("gpt-3.5-turbo-instruct") is None


def test_the_page_on_prompting_names_every_family_layout_treatment_and_filter() -> None:
    page = (Path(__file__).parents[2] / "docs" / "prompting.md").read_text("utf-8")
    families = {family.name for family in FAMILIES.values()} | {"fim"}
    for name in [*families, *DOCUMENT_LAYOUTS, *TREATMENTS, *FILTERS]:
        assert f"`{name}`" in page, name


@pytest.mark.model
def test_the_default_model_s_own_tokenizer_lets_nothing_through(default_model: Path) -> None:
    from engine.runtime.llama import Model

    model = Model(default_model)
    family = detect(model.metadata, model.special)
    assert family.name == "qwen"
    spelled = " ".join([*family.markers, "</s>", "<|im_start|>"])
    request = replace(
        REQUEST, prefix=spelled, documents=(Document(spelled, spelled, "note"),), layout="repo/fim"
    )
    made = assemble(request, model, family, context_tokens=2048)
    control = [token for token in made.tokens if token in model.eog or not model.piece(token)]
    spellings = [
        "<|repo_name|>",
        "<|file_sep|>",
        "<|file_sep|>",
        "<|fim_prefix|>",
        "<|fim_suffix|>",
        "<|fim_middle|>",
    ]
    assert control == [model.special(name) for name in spellings]
    model.close()


@pytest.mark.model
def test_a_model_without_fim_gets_documents_and_prefix(small_model: Path) -> None:
    from engine.runtime.llama import Model

    model = Model(small_model)
    family = detect(model.metadata, model.special)
    made = assemble(REQUEST, model, family, context_tokens=2048)
    assert not family.fim
    assert made.layout == "repo/prefix"
    assert made.plan.text.endswith("<file_sep>a.py\ndef f():\n    ")
    model.close()
