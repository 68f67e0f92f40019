"""Where training computes: a processor whose bfloat16 ends the process must not end this one."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

import torch

from engine.compress import place
from engine.errors import UsageError


@pytest.mark.parametrize(
    ("probe", "precision"),
    [
        ("print(3.0)", torch.bfloat16),
        ("print(1.1)", torch.float32),
        ("import os; os.abort()", torch.float32),
        ("print('no number')", torch.float32),
    ],
)
def test_bfloat16_where_it_works_and_is_faster(probe: str, precision, monkeypatch) -> None:
    monkeypatch.setattr(place, "_PROBE", probe)
    said: list[str] = []
    assert place.choose("cpu", said.append) == place.Place(torch.device("cpu"), precision)
    assert said == [f"training on cpu, products in {str(precision)[6:]}"]


def test_a_gpu_that_is_not_there(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match="sees no CUDA device"):
        place.choose("cuda", print)
