"""Damaged files: a quick run, and the long one of `python tests/engine/usedef/fuzz.py`."""

from __future__ import annotations

import pytest

from tests.engine.usedef import fuzz


def run(count: int, seed: int, *, longest: int = 6000) -> int:
    done = 0
    for language, text, random_ in fuzz.cases(count, seed, longest=longest):
        fuzz.one(language, text, random_)
        done += 1
    return done


@pytest.mark.timeout(600)
def test_damaged_files_come_back() -> None:
    assert run(1_500, seed=2, longest=700) == 1_500


@pytest.mark.slow
@pytest.mark.timeout(0)
def test_many_damaged_files_come_back() -> None:
    assert run(100_000, seed=1) == 100_000
