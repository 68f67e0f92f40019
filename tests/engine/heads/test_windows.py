"""Windows: edges at tokens, look-ups that know no more than was read, and names made meaningless."""

from __future__ import annotations

import ast

import pytest
from word_tokenizer import WordTokenizer

from engine.heads import gold, windows
from engine.heads.windows import Window


def spelled(window: Window, tokenizer: WordTokenizer, tokens: tuple[int, ...]) -> str:
    return b"".join(tokenizer.piece(window.tokens[token]) for token in tokens).decode()


def test_edges_lead_from_a_name_to_the_same_name(window: Window, tokenizer: WordTokenizer) -> None:
    assert len(window.edges) == 10
    for edge in window.edges:
        name = spelled(window, tokenizer, edge.name)
        assert spelled(window, tokenizer, tuple(range(edge.at - len(edge.name) + 1, edge.at + 1))) == name
        assert max(*edge.name, *edge.after, *edge.value, *edge.last) < edge.at
        assert spelled(window, tokenizer, edge.last) == name
        assert edge.distant < edge.at


def test_the_definition_is_not_the_last_occurrence_nor_a_stale_one(
    window: Window, tokenizer: WordTokenizer
) -> None:
    size = next(edge for edge in window.edges if window.lines[edge.at] == 3 and edge.stale)
    assert spelled(window, tokenizer, size.value) == "size + 1"
    assert len(size.stale) == 1
    assert size.name[-1] < size.last[-1]  # on the right of `size = size + 1`
    width = window.edges[-1]
    assert spelled(window, tokenizer, width.name) == "width"
    assert len(width.elsewhere) == 3  # of the function above, whose `width` is another


def test_lookups_know_only_what_was_read(tokenizer: WordTokenizer) -> None:
    """Behind the `a` of `ab` the name so far is `a`: both tokens are looked up, each by what it knows."""
    text = "def f(a, ab):\n    return ab.a\n"
    window = windows.build("f.py", text, gold.analyse(text), (0, len(text)), tokenizer)
    first, second = window.lookups[-2:]
    assert second.at == first.at + 1
    assert spelled(window, tokenizer, first.name) == "a"
    assert spelled(window, tokenizer, second.name) == "ab"
    assert [edge.at for edge in window.edges] == [second.at]


def test_names_in_force_are_seen_from_every_token(window: Window, tokenizer: WordTokenizer) -> None:
    text = "".join(tokenizer.piece(token).decode() for token in window.tokens)
    at = len(tokenizer.encode(text[: text.index("    return size")], special=False)) + 1
    assert spelled(window, tokenizer, window.visible[at]) == "widthheightsize"
    assert window.visible[0] == ()


def test_windows_are_whole_statements_within_their_size(tokenizer: WordTokenizer) -> None:
    function = (
        "def step(count, name):\n    thing = make(name, count)\n    return thing + count + len(name)\n\n\n"
    )
    text = function * 12
    found = windows.of_file("steps.py", text, tokenizer, 400)
    assert found is not None
    assert len(found.tokens) <= 400
    ast.parse("".join(tokenizer.piece(token).decode() for token in found.tokens))
    assert windows.of_file("short.py", function, tokenizer, 400) is None
    assert windows.of_file("broken.py", "def (", tokenizer, 400) is None


def test_the_same_seed_chooses_the_same_windows(tokenizer: WordTokenizer) -> None:
    body = (
        "def step(count, name):\n    thing = make(name, count)\n    return thing + count + len(name)\n\n\n"
        * 4
    )
    texts = [(f"{name}.py", body.replace("step", name * 3)) for name in "abcdefgh"]
    first, again, other = (
        [window.name for window in windows.choose(texts, tokenizer, count=3, tokens=420, seed=seed)]
        for seed in (1, 1, 2)
    )
    assert first == again != other
    assert len(first) == 3


def test_renaming_keeps_meaning_and_length(tokenizer: WordTokenizer) -> None:
    text = (
        "def f(count, other=1):\n    total = count + other\n    return g(total, other=count, x=obj.count)\n"
    )
    found = windows.renamed(text, tokenizer, seed=1)
    assert len(tokenizer.encode(found, special=False)) == len(tokenizer.encode(text, special=False))
    before, after = gold.analyse(text).uses, gold.analyse(found).uses
    assert len(before) == len(after) == 4
    assert [use.name for use in before if use.name != "total"] == [*[use.name for use in after][:-2], "count"]
    assert "total" not in found
    # `count` is an attribute too, `other` a keyword: other programs may mean them.
    assert "count" in found
    assert "other=count" in found


def test_tokens_that_do_not_spell_the_text_are_refused(tokenizer: WordTokenizer) -> None:
    tokenizer.encode = lambda text, *, special: [65]  # type: ignore[method-assign]
    with pytest.raises(ValueError, match="do not spell"):
        windows.build("f.py", "x = 1\n", gold.analyse("x = 1\n"), (0, 6), tokenizer)
