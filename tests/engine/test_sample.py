"""Sampling: greedy is exact, sampling is seeded, and the filters hold."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.decode.sample import Sampler
from engine.request import Request

LOGITS = np.array([0.0, 3.0, 1.0, 3.0, -2.0], np.float32)


def sampler(temperature: float = 1.0, **options: float) -> Sampler:
    return Sampler(Request("", "", temperature=temperature, **options))  # type: ignore[arg-type]


def draws(count: int, logits: NDArray[np.float32] = LOGITS, **options: float) -> list[int]:
    one = sampler(**options)
    return [one.pick(logits) for _ in range(count)]


def test_greedy_takes_the_largest_and_of_equals_the_first() -> None:
    assert sampler(0.0).pick(LOGITS) == 1
    assert sampler(0.0).pick(LOGITS, allowed=np.array([0, 2, 3])) == 3


def test_the_same_seed_draws_the_same_tokens_and_another_draws_others() -> None:
    assert draws(50, seed=5) == draws(50, seed=5)
    assert draws(50, seed=5) != draws(50, seed=6)
    assert draws(3, seed=-1) == draws(3, seed=-1)


def test_frequencies_follow_the_softmax() -> None:
    picks = np.bincount(draws(20_000, top_k=0, top_p=1.0), minlength=5) / 20_000
    expected = np.exp(LOGITS) / np.exp(LOGITS).sum()
    assert np.abs(picks - expected).max() < 0.015


def test_temperature_sharpens() -> None:
    assert set(draws(300, temperature=0.1, top_k=0, top_p=1.0)) == {1, 3}
    assert len(set(draws(300, temperature=5.0, top_k=0, top_p=1.0))) == 5


def test_top_k_and_top_p_cut_the_tail() -> None:
    assert set(draws(300, top_k=1, top_p=1.0)) == {1}
    assert set(draws(300, top_k=3, top_p=1.0)) == {1, 2, 3}
    assert set(draws(300, top_k=0, top_p=0.4)) == {1}
    assert set(draws(300, top_k=0, top_p=0.8)) == {1, 3}
    assert set(draws(50, top_k=0, top_p=0.0)) == {1}


def test_allowed_tokens_hold_in_sampling_too() -> None:
    allowed = np.array([0, 2, 4])
    one = sampler(top_k=0, top_p=1.0)
    assert {one.pick(LOGITS, allowed=allowed) for _ in range(300)} <= {0, 2, 4}


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_damaged_logits_do_not_crash(temperature: float) -> None:
    bad = np.array([np.nan, -np.inf, 2.0, np.nan], np.float32)
    assert sampler(temperature, top_k=0).pick(bad) == 2
    assert sampler(temperature).pick(np.array([-np.inf, np.inf], np.float32)) == 1
    assert sampler(temperature).pick(np.full(4, np.nan, np.float32)) in range(4)
    assert sampler(temperature).pick(np.full(4, -np.inf, np.float32)) in range(4)


def test_the_logits_are_left_as_they_are() -> None:
    before = LOGITS.copy()
    draws(10)
    draws(10, temperature=0.0)
    assert np.array_equal(before, LOGITS)


def test_a_large_vocabulary_agrees_with_a_full_sort() -> None:
    logits = np.random.default_rng(1).normal(size=151_936).astype(np.float32)
    best = set(np.argsort(-logits, kind="stable")[:40].tolist())
    assert set(draws(200, logits, top_k=40, top_p=1.0)) <= best
