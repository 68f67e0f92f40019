"""Typing into a shown suggestion keeps it."""

from __future__ import annotations

from lsp.cache import AnswerCache, Place


def test_the_rest_of_a_suggestion_is_found_while_its_beginning_is_typed() -> None:
    cache = AnswerCache()
    cache.put(Place.of("file", "import os\nx = ", "\nend"), "sum(values)")
    assert cache.get(Place.of("file", "import os\nx = ", "\nend")) == "sum(values)"
    assert cache.get(Place.of("file", "import os\nx = sum(", "\nend")) == "values)"


def test_anything_else_is_asked_again() -> None:
    cache = AnswerCache()
    cache.put(Place.of("file", "a\nx = ", ""), "sum(values)")
    for place in (
        Place.of("file", "a\nx = max", ""),
        Place.of("file", "a\nx = sum(values)", ""),
        Place.of("file", "a\nx =", ""),
        Place.of("file", "b\nx = sum", ""),
        Place.of("file", "a\nx = sum", ")"),
        Place.of("another step", "a\nx = sum", ""),
    ):
        assert cache.get(place) is None


def test_an_empty_answer_counts_at_its_own_place_only() -> None:
    cache = AnswerCache()
    cache.put(Place.of("file", "x", ""), "")
    assert cache.get(Place.of("file", "x", "")) == ""
    assert cache.get(Place.of("file", "xy", "")) is None


def test_the_newest_suggestion_that_fits_wins() -> None:
    cache = AnswerCache()
    cache.put(Place.of("file", "x = ", ""), "sum(values)")
    cache.put(Place.of("file", "x = s", ""), "um(others)")
    assert cache.get(Place.of("file", "x = su", "")) == "m(others)"


def test_the_cache_is_bounded() -> None:
    cache = AnswerCache(capacity=3)
    places = [Place.of("file", f"line {number}\n", "") for number in range(10)]
    for place in places:
        cache.put(place, "text")
    assert len(cache) == 3
    assert cache.get(places[0]) is None
    assert cache.get(places[-1]) == "text"
    cache.clear()
    assert len(cache) == 0
