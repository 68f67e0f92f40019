"""The compression study from file to table: forms made, run in llama.cpp, their layers shared."""

from __future__ import annotations

import io
from contextlib import closing
from pathlib import Path

import pytest
import torch

from engine.compress import distill
from engine.compress.network import Place
from engine.compress.text import JUDGED
from engine.compress.tokens import Data
from engine.models import digest
from engine.runtime import extension
from engine.runtime.llama import Model
from engine.studies import compression, compression_report, forms, lines, results
from engine.studies.progress import Lines

FORMS = "s24_0 magnitude; s24_0 sparsegpt; s24_0 sparsegpt, distilled; i3_0 gptq"


@pytest.mark.skipif(extension.PACKED not in extension.kernels(), reason="a stock llama.cpp lacks the types")
def test_forms_are_made_and_measured(tiny, data, tmp_path: Path, isolated_home: Path, monkeypatch) -> None:
    few = Data(data.calibration, data.text[:2], data.code[:2])
    monkeypatch.setattr(compression.tokens, "read", lambda *_, **__: few)
    monkeypatch.setattr(compression.tokens, "training", lambda *_, **__: data.calibration)
    monkeypatch.setattr(compression.place, "choose", lambda *_: Place(torch.device("cpu"), torch.float32))
    # The tiny model has 32 tokens and no text for them.
    monkeypatch.setattr(compression, "_lines", lambda *_: [])
    monkeypatch.setattr(compression.lines, "completed", lambda *_, **__: [True, False])
    monkeypatch.setattr(compression.pace, "token_ms", lambda paths, **_: [2.0, 1.0])
    plan = compression.Plan(
        "tiny", digest.of(tiny.path), tuple(forms.chosen(FORMS)), recover_tokens=60 * 96, lines=2
    )
    said, folder = io.StringIO(), tmp_path / "study"
    solved: list[str] = []
    with results.opened(folder, plan.identity, fresh=False) as found:
        compression.measure_all(plan, tiny.path, folder, found, Lines(said))
        document = compression_report.document(found, plan, threads=1, command="")
        again = io.StringIO()
        monkeypatch.setattr(distill, "train", lambda *_: solved.append("trained"))
        compression.measure_all(plan, tiny.path, folder, found, Lines(again))
    rows = {row["name"]: row for row in document["rows"]}
    assert list(rows) == ["as shipped", *FORMS.split("; ")]
    assert rows["as shipped"]["kl"] == pytest.approx(0, abs=1e-5)
    for name, row in rows.items():
        if name != "as shipped":
            assert row["linear_bits"] == 3.25
            assert row["kl"] > 0
            assert row["text_ratio"] == pytest.approx(row["simulated"]["text"]["ratio"], rel=0.02)
    before, after = (rows[f"s24_0 sparsegpt{how}"]["kl"] for how in ("", ", distilled"))
    assert after < before
    assert document["recovered"].keys() == {"s24_0 sparsegpt, distilled"}
    assert said.getvalue().count("of 2  layer 0,") == 3, "distilled shares with plain"
    assert (again.getvalue(), solved) == ("", [])
    assert not (folder / "work").exists()
    assert not (folder / "form.gguf").exists()


@pytest.mark.model
def test_lines_are_of_packages_that_nothing_trains_on(small_model: Path) -> None:
    with closing(Model(small_model)) as model:
        chosen = lines.choose(model, 24, seed=1)
        assert lines.choose(model, 6, seed=1) == chosen[:6] != lines.choose(model, 6, seed=2)
    assert {line.package for line in chosen} <= set(JUDGED)
    assert all(len(line.prefix) == lines.PREFIX_TOKENS and line.wanted for line in chosen)
    assert 2 <= sum(lines.completed(small_model, chosen, threads=2)) <= 22
