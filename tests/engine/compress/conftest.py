"""Models of a few kilobytes, and texts as tokens without a tokenizer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("gguf")

import torch

from engine.compress.tokens import Data
from engine.reference.source import Source
from tests.native import tiny_models


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Products this small only wait for a second thread: on a busy machine that is fifty times slower."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Steps:
    """Progress that remembers; raises KeyboardInterrupt after `stop` steps."""

    def __init__(self, stop: int = -1) -> None:
        self.seen: list[tuple[str, bool]] = []
        self._stop = stop

    def begin(self, total: int) -> None: ...

    def step(self, what: str, *, fresh: bool) -> None:
        self.seen.append((what, fresh))
        if len(self.seen) == self._stop:
            raise KeyboardInterrupt


@pytest.fixture
def tiny(tmp_path: Path) -> Source:
    """A llama model of two blocks: rows of 64, float32."""
    return Source(tiny_models.rotating(tmp_path / "tiny.gguf", "llama"))


@pytest.fixture
def data() -> Data:
    random = torch.Generator().manual_seed(1)
    parts: list[Any] = [torch.randint(0, 32, (count, 48), generator=random) for count in (12, 4, 4)]
    return Data(*parts)


@pytest.fixture
def steps() -> type[Steps]:
    return Steps
