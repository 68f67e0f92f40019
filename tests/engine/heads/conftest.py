"""A model of a few kilobytes, windows of real Python with one token a byte, and what counts progress."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("gguf")

sys.path.insert(0, str(Path(__file__).parents[1]))

from word_tokenizer import WordTokenizer

from engine.heads import gold, windows
from engine.heads.bench import Read
from engine.heads.trunk import Trunk
from engine.heads.windows import Window
from engine.reference.source import Source
from tests.native import tiny_models

TEXT = """def area(width, height):
    size = width * height
    size = size + 1
    return size, width


def named(width, name):
    for part in name:
        print(part, width)
    return [each for each in name if each], width
"""


@pytest.fixture
def tokenizer() -> WordTokenizer:
    return WordTokenizer()


@pytest.fixture
def window(tokenizer: WordTokenizer) -> Window:
    return windows.build("area.py", TEXT, gold.analyse(TEXT), (0, len(TEXT)), tokenizer)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return tiny_models.rotating(tmp_path / "tiny.gguf", "llama")


@pytest.fixture
def trunk(tiny: Path) -> Trunk:
    return Trunk(Source(tiny), 512)


@pytest.fixture
def small_ids() -> Callable[[Window], Window]:
    """A window with the token numbers that a vocabulary of 32 has."""
    return lambda window: replace(window, tokens=tuple(token % 32 for token in window.tokens))


@pytest.fixture
def read(trunk: Trunk, window: Window, small_ids: Callable[[Window], Window]) -> Read:
    return Read(trunk, small_ids(window))


class Steps:
    """Progress that remembers; raises KeyboardInterrupt after `stop` fresh steps."""

    def __init__(self, stop: int = -1) -> None:
        self.fresh = 0
        self.done = 0
        self.total = 0
        self._stop = stop

    def begin(self, total: int) -> None:
        self.total = total

    def step(self, what: str, *, fresh: bool) -> None:
        self.done += 1
        self.fresh += fresh
        if fresh and self.fresh == self._stop:
            raise KeyboardInterrupt
