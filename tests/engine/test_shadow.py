"""The shadow check: sparing, deaf to outliers, and final when documents put together go wrong."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from engine.runtime.shadow import EVERY_REQUESTS, EVERY_SECONDS, MOST_MEDIAN, WINDOW, ShadowCheck, divergence


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def shadow(clock: Clock) -> ShadowCheck:
    return ShadowCheck(clock=clock)


def check(shadow: ShadowCheck, clock: Clock, kl: float) -> None:
    for _ in range(EVERY_REQUESTS):
        shadow.finished()
    clock.now += EVERY_SECONDS
    assert shadow.due()
    shadow.observe(kl)


def test_the_first_request_is_checked_then_few(shadow: ShadowCheck, clock: Clock) -> None:
    assert not shadow.due()  # nothing was asked yet
    shadow.finished()
    assert shadow.due()
    shadow.observe(0.01)
    for _ in range(EVERY_REQUESTS):
        shadow.finished()
    assert not shadow.due()  # not so soon
    clock.now += EVERY_SECONDS
    assert shadow.due()
    shadow.observe(0.01)
    clock.now += 100 * EVERY_SECONDS
    shadow.finished()
    assert not shadow.due()  # not for so few


def test_an_interrupted_check_is_tried_again_after_a_while(shadow: ShadowCheck, clock: Clock) -> None:
    shadow.finished()
    shadow.skip()
    assert not shadow.due()
    clock.now += EVERY_SECONDS
    assert shadow.due()


def test_the_verdict_waits_for_enough_checks(shadow: ShadowCheck, clock: Clock) -> None:
    for _ in range(WINDOW - 1):
        check(shadow, clock, 0.02)
        assert shadow.verdict == "unknown"
    check(shadow, clock, 0.02)
    assert shadow.verdict == "fine"
    assert shadow.status()["median_kl"] == 0.02


def test_outliers_do_not_alarm(shadow: ShadowCheck, clock: Clock, caplog) -> None:
    with caplog.at_level(logging.INFO):
        for n in range(4 * WINDOW):
            check(shadow, clock, 5.0 if n % 3 == 0 else 0.02)
    assert shadow.verdict == "fine"
    assert "5.00 nats off" in caplog.text


def test_a_median_that_is_off_alarms_once_and_for_good(shadow: ShadowCheck, clock: Clock, caplog) -> None:
    for n in range(WINDOW):
        check(shadow, clock, MOST_MEDIAN * (2 if n % 2 == 0 else 0.5))
    assert shadow.verdict == "alarm"
    assert shadow.reason == "0.40 nats off full attention (median of 9 checks)"
    assert caplog.text.count("no longer reused") == 1
    clock.now += EVERY_SECONDS
    shadow.finished()
    assert not shadow.due()


@pytest.mark.parametrize("kl", [float("nan"), float("inf")])
def test_what_is_no_number_counts_as_wrong(shadow: ShadowCheck, clock: Clock, kl: float) -> None:
    for _ in range(WINDOW):
        check(shadow, clock, kl)
    assert shadow.verdict == "alarm"
    assert shadow.status()["median_kl"] is None


def test_divergence_is_that_of_distributions() -> None:
    p, q = np.log(np.array([0.5, 0.25, 0.25])), np.log(np.array([0.25, 0.5, 0.25]))
    assert divergence(p + 7, q - 3) == pytest.approx(0.25 * np.log(2))
    assert divergence(p, p) == 0
    assert divergence(np.array([1e4, -1e4]), np.array([-1e4, 1e4])) == pytest.approx(2e4)
    assert divergence(p, np.full(3, np.nan)) == float("inf")
