"""The forward pass in torch against llama.cpp on real models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("gguf")

from engine.reference import architecture, forward  # noqa: E402
from engine.reference.source import Source  # noqa: E402
from engine.runtime.context import Context  # noqa: E402
from engine.runtime.llama import Model  # noqa: E402

TEXT = '''"""Reading a table."""

import csv
from pathlib import Path


def rows(path: Path) -> list[dict[str, str]]:
    """Every row of the file, by column name."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
'''


def compared(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Logits of llama.cpp and of torch, [tokens, vocabulary]."""
    model = Model(path)
    tokens = model.encode(TEXT, special=False)[:64]
    context = Context(model, context_tokens=256, batch_tokens=64, threads=2, outputs=64)
    context.decode(tokens, 0, outputs="all")
    theirs = context.logits_rows().copy()
    context.close()
    model.close()
    source = Source(path)
    ours = forward.logits(source, architecture.of(source), torch.tensor([tokens]))[0].numpy()
    return theirs, ours


def divergence(theirs: np.ndarray, ours: np.ndarray) -> np.ndarray:
    p, q = (torch.log_softmax(torch.from_numpy(rows).double(), dim=1) for rows in (theirs, ours))
    return (p.exp() * (p - q)).sum(1).numpy()


def agree(path: Path) -> None:
    """Near, and not the same: llama.cpp rounds activations to 8 bits (test_layers.py has the exact case)."""
    theirs, ours = compared(path)
    assert divergence(theirs, ours).mean() < 0.01
    top = np.sort(theirs, axis=1)
    clear = top[:, -1] - top[:, -2] > 1.0
    assert clear.sum() > 20
    assert (theirs.argmax(1) == ours.argmax(1))[clear].all()


@pytest.mark.model
def test_a_llama_model_has_llama_cpps_logits(small_model: Path) -> None:
    agree(small_model)


@pytest.mark.model
def test_a_qwen2_model_has_llama_cpps_logits(default_model: Path) -> None:
    agree(default_model)
