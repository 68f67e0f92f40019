"""The compression study's forms, table, figure and shares, without a model."""

from __future__ import annotations

import json
import math
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from engine.errors import UsageError
from engine.studies import compression_report as report
from engine.studies import forms, pareto
from engine.studies.pareto import Point

ROWS = {
    "as shipped": (1.0, "shipped", 360e6),
    "q4_0 gptq": (1.04, "dense", 300e6),
    "s24_0 sparsegpt": (2.25, "sparse", 240e6),
    "s24_0 sparsegpt, distilled": (1.5, "sparse", 240e6),
    "s24_0 magnitude": (900.0, "sparse", 240e6),
}


def row(name: str) -> dict[str, Any]:
    ratio, family, size = ROWS[name]
    return {
        "name": name, "family": family, "seconds": 61.0, "simulated": None,
        "token_ms": 10.0, "shipped_ms": 15.0,
        "sizes": {"bytes": 2 * size, "read_bytes": size, "linear_bits": 3.25},
        "quality": {"text_ratio": ratio, "code_ratio": ratio * 0.99, "kl": 0.1, "top1": 0.9},
        "lines": [True, False, True, True],
    }  # fmt: skip


@pytest.fixture
def document() -> dict[str, Any]:
    rows = [report._row(row(name), seed=1) for name in ROWS]
    return {
        "run": {"model": "tiny", "calibration_tokens": 2048}, "command": "steerway study compression tiny",
        "machine": {"processor": "A <fast> one"}, "rows": rows,
        "recovered": report.recovered({name: row(name) for name in ROWS}),
    }  # fmt: skip


def test_recovery_is_the_share_of_the_gap_in_log_perplexity(document: dict[str, Any]) -> None:
    found = document["recovered"]
    assert list(found) == ["s24_0 sparsegpt, distilled"]
    assert found["s24_0 sparsegpt, distilled"]["text"] == pytest.approx(
        1 - math.log(1.5) / math.log(2.25), abs=1e-3
    )


def test_what_the_rates_were_chosen_by_is_in_the_row() -> None:
    rates = {"1.000": 0.3, "0.333": 0.4}
    assert report._row(row("q4_0 gptq") | {"rates": rates}, seed=1)["rates"] == rates
    assert "rates" not in report._row(row("q4_0 gptq"), seed=1)


def test_table_and_page(document: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    report.show(document)
    said = capsys.readouterr().out
    assert "1.50x" in said
    assert "75% (" in said
    assert "closes 50% on text" in said
    assert "not usable (perplexity more than doubles): s24_0 sparsegpt, s24_0 magnitude" in said
    lines = report.page(document).splitlines()
    assert len({line.count("|") for line in lines if line.startswith("|")}) == 1
    assert lines[-1] == "`steerway study compression tiny`"


def test_files(document: dict[str, Any], tmp_path: Path) -> None:
    report.write(document, tmp_path)
    assert json.loads((tmp_path / "compression.json").read_text())["rows"][1]["name"] == "q4_0 gptq"
    figure = ET.fromstring((tmp_path / "compression.svg").read_text())
    texts = [element.text for element in figure.iter("{http://www.w3.org/2000/svg}text")]
    assert {*ROWS} - {"s24_0 magnitude"} <= {*texts}
    assert "s24_0 magnitude (900x)" in texts, "beyond the axis it says how much"
    assert any("A <fast> one" in (text or "") for text in texts)


def test_the_front_leaves_out_what_another_beats() -> None:
    points = [Point("a", 100, 1.5, "dense"), Point("b", 120, 1.7, "sparse"), Point("c", 150, 1.0, "shipped")]
    assert [point.name for point in pareto._front(points)] == ["a", "c"]


def test_forms_by_name() -> None:
    assert [form.name for form in forms.chosen("s24_0 wanda; q4_0 nearest")] == [
        "as shipped", "s24_0 wanda", "q4_0 nearest",
    ]  # fmt: skip
    assert forms.chosen(forms.named(forms.chosen("all"))) == forms.chosen("all")
    with pytest.raises(UsageError, match="no form is called 's25'"):
        forms.chosen("s25")


def test_scopes_cover_the_linear_layers_and_nothing_else() -> None:
    form = forms.FORMS["s24_0 sparsegpt"]
    parts = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
    assert all(form.takes(f"blk.11.{part}.weight") for part in parts)
    assert not any(
        form.takes(name) for name in ("blk.0.attn_norm.weight", "output.weight", "blk.0.attn_q.bias")
    )
    scoped = [forms.FORMS[f"s24_0 {scope}"] for scope in ("gate and up", "down", "attention")]
    assert all(sum(form.takes(f"blk.0.{part}.weight") for form in scoped) == 1 for part in parts)
    assert not forms.FORMS["as shipped"].takes("blk.0.attn_q.weight")
