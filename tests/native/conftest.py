"""The back end of native/ and the low-level context, importable by the tests of this folder."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
NATIVE = HERE.parents[1] / "native"
sys.path[:0] = [str(HERE), str(NATIVE), str(NATIVE / "backend")]


@pytest.fixture(autouse=True)
def stock_kernels() -> Iterator[None]:
    """The switch is the process's, so an engine of another test may have thrown it; here it is off at first.

    Ours add in an order that depends on the cells, so what is exact over other cells is so for stock only.
    """
    from engine.runtime import extension

    before = extension.kernels_on()
    extension.set_kernels()
    yield
    extension.set_kernels(*before)
