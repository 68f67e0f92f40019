"""Selection: what is nearest, what is most relevant, and what speaks of the text around the cursor."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.kv import select
from engine.kv.select import Candidate

SIZES = st.lists(st.integers(1, 300), max_size=12)


def offered(*texts: str, tokens: int = 100) -> list[Candidate]:
    return [Candidate(tokens, text) for text in texts]


def test_whole_documents_come_first_the_most_relevant_last() -> None:
    documents = [offered("a", "b"), offered("c"), offered("d", "e")]
    assert select.documents(documents, 500, "") == [(0, 1), (0,), (0, 1)]
    assert select.documents(documents, 300, "") == [(), (0,), (0, 1)]


def test_of_the_document_that_does_not_fit_the_chunks_alike_are_taken() -> None:
    document = offered("def total(): ...", "def refund(book): ...", "class Book: ...", "refund = 1")
    other = offered("small")
    assert select.documents([other, document], 200, "entry = refund(book)\n") == [(), (1, 3)]
    assert select.documents([other, document], 299, "nothing of it") == [(), (0, 1)]


def test_naming_a_document_costs_too() -> None:
    documents = [offered("a"), offered("b")]
    assert select.documents(documents, 210, "", titles=[10, 10]) == [(), (0,)]
    assert select.documents(documents, 220, "", titles=[10, 10]) == [(0,), (0,)]


def test_rare_names_weigh_more_than_common_ones() -> None:
    texts = ("self value refund", "self value", "self value", "self value other", "ticket")
    scores = select.overlaps(texts, "self.value = refund(other)")
    assert scores[0] == scores[3] > scores[1] > scores[4] == 0


def test_alike_only_takes_no_others() -> None:
    assert select.relevant(offered("refund", "total"), 500, "refund", alike=True) == (0,)
    assert select.relevant(offered("refund", "total"), 500, "refund") == (0, 1)


def test_the_suffix_gets_about_a_quarter() -> None:
    before, after = select.around([50] * 100, [50] * 100, 2000)
    assert before + after == 40
    assert 8 <= after <= 12
    assert select.around([50] * 100, [], 2000) == (40, 0)
    assert select.around([50] * 3, [50] * 100, 2000) == (3, 37)


@settings(max_examples=60, deadline=None)
@given(SIZES, SIZES, st.integers(0, 2000))
def test_what_is_around_fits_and_leaves_no_room_for_the_next(
    before: list[int], after: list[int], budget: int
) -> None:
    taken = select.around(before, after, budget)
    used = sum(before[: taken[0]]) + sum(after[: taken[1]])
    assert used <= budget
    for side, count in zip((before, after), taken, strict=True):
        assert count == len(side) or side[count] > budget - used


@settings(max_examples=60, deadline=None)
@given(st.lists(SIZES.filter(bool), max_size=6), st.integers(0, 2000), st.text("abc _", max_size=30))
def test_documents_are_within_the_budget_and_none_is_left_out_for_a_less_relevant_one(
    sizes: list[list[int]], budget: int, query: str
) -> None:
    documents = [[Candidate(size, f"abc_{i}") for i, size in enumerate(chunks)] for chunks in sizes]
    chosen = select.documents(documents, budget, query)
    used = sum(chunks[i].tokens for chunks, indices in zip(documents, chosen, strict=True) for i in indices)
    assert used <= budget
    whole = [len(indices) == len(chunks) for chunks, indices in zip(documents, chosen, strict=True)]
    if False in whole:
        last = max(i for i, value in enumerate(whole) if not value)
        assert not any(chosen[:last])
    assert all(list(indices) == sorted(set(indices)) for indices in chosen)
