"""Drafts: what is looked up, what is learned of it, and how much of it is worth a batch."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.decode.draft import LEAST_GAIN, BatchCosts, Chances, Drafter, best_length
from engine.decode.lookup import LONGEST_MATCH_TOKENS, Guess, Lookup

TEXT = st.lists(st.integers(0, 3), max_size=30)


def test_what_followed_the_last_tokens_elsewhere_is_guessed() -> None:
    lookup = Lookup([[1, 2, 3, 4, 5]], [9, 2, 3])
    assert [guess.token for guess in lookup.guesses(2)] == [4, 5]
    lookup.append(4)
    assert lookup.guesses(9) == [Guess(5, 3, 1, 1)]
    lookup.append(7)
    assert lookup.guesses(9) == []


def test_the_longest_match_counts_and_of_equals_the_majority() -> None:
    assert [g.token for g in Lookup([[1, 2, 3], [9, 2, 4], [9, 2, 5]], [1, 2]).guesses(1)] == [3]
    assert Lookup([[2, 3], [2, 4], [2, 3]], [2]).guesses(1) == [Guess(3, 1, 2, 3)]
    assert Lookup([[2, 3], [2, 4]], [2]).guesses(1)[0].token == 4


def naive(references: list[list[int]], history: list[int], limit: int) -> list[Guess]:
    """The same by its definition: every place of every reference, compared one by one."""
    texts = [*references, history]
    best = 0
    places: list[tuple[int, int]] = []
    for which, text in enumerate(texts):
        for place in range(1, len(text)):
            length = 0
            while (
                length < min(LONGEST_MATCH_TOKENS, place, len(history))
                and text[place - 1 - length] == history[-1 - length]
            ):
                length += 1
            if length > best:
                best, places = length, []
            if length == best > 0:
                places.append((which, place))
    found: list[Guess] = []
    while len(found) < limit:
        places = [(which, place) for which, place in places if place < len(texts[which])]
        if not places:
            break
        following = [texts[which][place] for which, place in places]
        token, votes = Counter(reversed(following)).most_common(1)[0]
        found.append(Guess(token, min(best + len(found), LONGEST_MATCH_TOKENS), votes, len(places)))
        places = [
            (w, p + 1) for (w, p), token_there in zip(places, following, strict=True) if token_there == token
        ]
    return found


@settings(deadline=None)
@given(st.lists(TEXT, max_size=4), TEXT, TEXT)
def test_a_look_up_finds_what_its_definition_says(
    references: list[list[int]], history: list[int], more: list[int]
) -> None:
    lookup = Lookup(references, history)
    for end in range(len(more) + 1):
        now = [*history, *more[:end]]
        assert lookup.guesses(6) == naive(references, now, 6)
        if end < len(more):
            lookup.append(more[end])


def test_a_history_grows_without_bound() -> None:
    lookup = Lookup([], [1])
    for n in range(500):
        lookup.append(n % 7)
    assert [guess.token for guess in lookup.guesses(3)] == [500 % 7, 501 % 7, 502 % 7]


def costs(**measured: float) -> BatchCosts:
    """Costs where a token takes 10 ms and a batch of n what is said."""
    found = BatchCosts()
    found.observe(1, 10.0)
    for name, ms in measured.items():
        found.observe(int(name.removeprefix("n")), ms)
    return found


class TestCosts:
    def test_between_and_beyond_what_was_measured_lies_a_line(self) -> None:
        found = costs(n4=16.0, n8=32.0)
        assert [found.of(n) for n in (1, 2, 4, 6, 8)] == pytest.approx([1.0, 1.2, 1.6, 2.4, 3.2])
        assert found.of(16) > 4.8
        assert costs(n4=9.0).of(12) == 0.9

    def test_a_few_outliers_change_nothing(self) -> None:
        found = costs()
        for ms in (15, 15, 400, 15, 15, 900, 15):
            found.observe(4, ms)
        assert found.of(4) == 1.5

    def test_costs_are_stale_after_many_batches_without_a_token_alone(self) -> None:
        found = BatchCosts()
        seen = [found.stale]
        for sizes in ([1], [4] * 100, [1]):
            for size in sizes:
                found.observe(size, 10.0 + size)
            seen.append(found.stale)
        assert seen == [True, False, True, False]

    def test_what_was_measured_in_a_bad_moment_is_doubted_in_the_end(self) -> None:
        found = costs(n2=900.0, n3=900.0)
        before = found.of(2)
        for _ in range(1000):
            found.doubt()
        assert found.of(2) < 2 < before


class TestLength:
    def test_sure_guesses_are_taken_while_batches_are_cheap(self) -> None:
        assert best_length([1.0] * 7, costs(n8=20.0)) == 7
        assert best_length([1.0] * 7, costs(n2=12.0, n3=14.0, n4=60.0, n8=100.0)) == 2
        assert best_length([0.9, 0.9, 0.1, 0.9], costs(n8=24.0)) == 2

    def test_nothing_is_drafted_that_does_not_pay(self) -> None:
        assert best_length([1.0] * 7, costs(n2=20.0, n8=80.0)) == 0
        assert best_length([0.1, 0.1], costs(n8=24.0)) == 0
        assert best_length([], costs()) == 0

    @settings(deadline=None)
    @given(st.lists(st.floats(0, 1), max_size=8), st.lists(st.floats(1, 90), min_size=8, max_size=8))
    def test_no_other_length_promises_more(self, chances: list[float], ms: list[float]) -> None:
        found = costs(**{f"n{n}": cost for n, cost in enumerate(ms, start=2)})

        def gain(count: int) -> float:
            expected, chance = 1.0, 1.0
            for one in chances[:count]:
                chance *= one
                expected += chance
            return expected / found.of(count + 1)

        chosen = best_length(chances, found)
        gains = [gain(count) for count in range(len(chances) + 1)]
        assert gains[chosen] == max(gains) if chosen else max(gains) <= max(LEAST_GAIN, 1.0)


def drafter(references: list[list[int]], history: list[int], chances: Chances | None = None) -> Drafter:
    return Drafter(Lookup(references, history), chances=chances or Chances(), costs=costs(n8=17.0))


def test_a_copy_is_drafted_longer_as_it_goes_on() -> None:
    document = list(range(100, 140))
    found = drafter([document], [5])
    assert found.draft(15) == ()
    lengths = []
    for token in document[:20]:
        found.follow(token)
        lengths.append(len(found.draft(15)))
    assert lengths == sorted(lengths)
    assert lengths[-1] == 15
    assert found.draft(3) == tuple(document[20:23])
    assert found.draft(0) == ()


def test_guesses_that_are_always_wrong_are_no_longer_drafted() -> None:
    chances, document = Chances(), [1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert drafter([document], [1, 2, 3, 4], chances).draft(15)
    for n in range(40):
        found = drafter([document], [1, 2, 3, 4], chances)
        found.follow(50 + n)
    assert drafter([document], [1, 2, 3, 4], chances).draft(15) == ()
    assert chances.of(Guess(5, 12, 1, 1)) > 0.5  # another kind of match was never wrong


def test_nothing_is_drafted_before_a_token_alone_was_measured() -> None:
    found = Drafter(Lookup([[1, 2, 3, 4, 5, 6]], [1, 2, 3]), chances=Chances(), costs=BatchCosts())
    assert found.draft(15) == ()
