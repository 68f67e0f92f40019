"""Gates: which models' documents are encoded one by one, and what decides it."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from engine.kv import architectures, gate
from engine.kv.gate import Evidence, Facts, Gate, Repair, Study, gate_for
from engine.settings import Settings, load

SHA = "a" * 64
GOOD = Evidence(
    targets=64, kl_files=0.012, kl_chunks=0.02, top1=0.96, match=0.51, match_full=0.515,
    date="2026-11-21", command="steerway study kv-reuse",
)  # fmt: skip
PLAIN = {"general.architecture": "qwen2", "qwen2.rope.freq_base": "1000000.000000", "qwen2.block_count": "24"}


def facts(metadata: dict[str, str] = PLAIN, **changes: object) -> Facts:
    return replace(Facts(model="coder", sha256=SHA, metadata=metadata), **changes)


def study(**changes: object) -> Study:
    return Study(model="coder", sha256=SHA, evidence=replace(GOOD, **changes), repair=Repair(link_tokens=8))


def test_a_studied_model_opens_the_gate_with_the_repair_that_was_measured(tmp_path: Path) -> None:
    file = gate.save(study(), tmp_path / "gates")

    found = gate_for(facts(), Settings(), own=tmp_path / "gates")

    assert found.mode == "documents"
    assert found.repair == Repair(link_tokens=8)
    assert found.evidence == GOOD
    assert found.reason == "studied on 2026-11-21 over 64 targets"
    assert file.name == f"{SHA}.json"
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"targets": 8}, "8 targets are fewer than 40"),
        ({"kl_files": 0.016}, "KL 0.016 over files, 0.015 allowed"),
        ({"kl_chunks": 0.31}, "KL 0.310 over chunks, 0.03 allowed"),
        ({"match": 0.45}, "exact match 45.0% instead of 51.5%"),
    ],
)
def test_evidence_that_falls_short_keeps_it_closed(
    tmp_path: Path, changes: dict[str, float], says: str
) -> None:
    gate.save(study(**changes), tmp_path)
    found = gate_for(facts(), Settings(), own=tmp_path)
    assert (found.mode, found.reason) == ("prefix", f"the study of coder: {says}")
    assert found.repair == Repair()


def test_a_model_nobody_studied_says_how_to(tmp_path: Path) -> None:
    found = gate_for(facts(), Settings(), own=tmp_path / "none")
    assert found.mode == "prefix"
    assert "`steerway study kv-reuse`" in found.reason


def test_the_setting_closes_it(tmp_path: Path) -> None:
    gate.save(study(), tmp_path)
    found = gate_for(facts(), Settings(reuse="prefix"), own=tmp_path)
    assert (found.mode, found.reason) == ("prefix", "the setting reuse is prefix")


def test_a_library_without_rows_closes_it(tmp_path: Path) -> None:
    gate.save(study(), tmp_path)
    found = gate_for(facts(rows=False, why_no_rows="this is the stock library"), Settings(), own=tmp_path)
    assert (found.mode, found.reason) == ("prefix", "this is the stock library")


@pytest.mark.parametrize(
    ("metadata", "says"),
    [
        ({"general.architecture": "gemma3"}, "gemma3 has a sliding window"),
        ({"general.architecture": "qwen2vl"}, "qwen2vl has M-RoPE"),
        ({"general.architecture": "mamba2"}, "mamba2 has recurrent layers"),
        ({"general.architecture": "qwen3next"}, "qwen3next has recurrent layers"),
        ({"general.architecture": "bloom"}, "bloom has ALiBi"),
        ({"general.architecture": "deepseek2"}, "deepseek2 has latent attention"),
        ({"general.architecture": "starcoder"}, "starcoder has learned positions"),
        ({"general.architecture": "smollm3"}, "smollm3 has layers without positions"),
        (
            {"general.architecture": "phi3", "phi3.attention.sliding_window": "2047"},
            "this phi3 model has a sliding",
        ),
        (
            {"general.architecture": "llama", "llama.attention.max_alibi_bias": "8.0"},
            "this llama model has ALiBi",
        ),
        ({"general.architecture": "qwen3", "qwen3.rope.dimension_sections": "[16,24,24,0]"}, "has M-RoPE"),
        ({"general.architecture": "llama", "llama.ssm.conv_kernel": "4"}, "has recurrent layers"),
        ({"general.architecture": "brand-new"}, "the architecture brand-new has not been looked at"),
        ({}, "the model does not name its architecture"),
    ],
)
def test_a_model_that_cannot_be_put_together_is_named_with_the_reason(
    tmp_path: Path, metadata: dict[str, str], says: str
) -> None:
    gate.save(study(), tmp_path)
    found = gate_for(facts(metadata), Settings(), own=tmp_path)
    assert found.mode == "prefix"
    assert says in found.reason


@pytest.mark.parametrize("zero", ["0", "0.0", "", "0.000000"])
def test_a_window_of_nothing_is_none(zero: str) -> None:
    assert not architectures.obstacle(PLAIN | {"qwen2.attention.sliding_window": zero})


def test_settings_change_parts_of_the_repair(tmp_path: Path) -> None:
    gate.save(study(), tmp_path)
    variables = {
        "STEERWAY_KV_LAYOUT": "shared",
        "STEERWAY_ATTENTION_BIAS": "-0.25",
        "STEERWAY_ATTENTION_TEMPERATURE": "1.1",
        "STEERWAY_BLEND_PERCENT": "15",
        "STEERWAY_NEAR_TOKENS": "64",
        "STEERWAY_CO_ENCODE": "pairs",
    }
    found = gate_for(facts(), load(Path(os.devnull), environ=variables), own=tmp_path)
    assert found.repair == Repair(
        layout="shared",
        bias=-0.25,
        temperature=1.1,
        link_tokens=8,
        blend=0.15,
        near_tokens=64,
        pairs=True,
        together=False,
    )
    assert found.reason.endswith("with other repair by your settings")
    none = gate_for(facts(), load(Path(os.devnull), environ={"STEERWAY_LINK_TOKENS": "0"}), own=tmp_path)
    assert none.repair == Repair()


@pytest.mark.parametrize(
    ("text", "pairs", "together"),
    [("auto", True, True), ("all", False, True), ("pairs", True, False), ("off", False, False)],
)
def test_what_is_encoded_together_is_one_setting(text: str, pairs: bool, together: bool) -> None:
    settings = load(Path(os.devnull), environ={"STEERWAY_CO_ENCODE": text})
    found = gate.overridden(Repair(pairs=True), settings)
    assert (found.pairs, found.together) == (pairs, together)


@pytest.mark.parametrize(
    "damage",
    [
        lambda entry: "{",
        lambda entry: "\x00" * 100,
        lambda entry: json.dumps(entry | {"sha256": "b" * 64}),
        lambda entry: json.dumps(entry | {"sha256": "../../etc/passwd"}),
        lambda entry: json.dumps(entry | {"repair": {"layout": "diagonal"}}),
        lambda entry: json.dumps(entry | {"repair": {"link_tokens": 1 << 40}}),
        lambda entry: json.dumps(entry | {"evidence": {}}),
        lambda entry: json.dumps(entry | {"evidence": entry["evidence"] | {"kl_files": "NaN"}}),
        lambda entry: json.dumps(entry | {"evidence": entry["evidence"] | {"targets": -1}}),
    ],
)
def test_a_damaged_gate_of_ones_own_is_none(tmp_path: Path, damage) -> None:
    file = gate.save(study(), tmp_path)
    file.write_text(damage(json.loads(file.read_text())))
    assert gate_for(facts(), Settings(), own=tmp_path).mode == "prefix"


def test_shipped_gates_are_whole_and_of_models_in_the_catalogue() -> None:
    from engine.models import catalogue

    known = {model.sha256: name for name, model in catalogue.models().items()}
    for sha256, entry in gate.shipped().items():
        assert known[sha256] == entry.model
        assert entry.evidence.command.startswith("steerway study kv-reuse")


def test_gates_are_data_that_can_be_told_and_compared() -> None:
    assert Gate(mode="prefix") == Gate(mode="prefix", repair=Repair(), reason="")
    assert msgspec.convert(msgspec.to_builtins(study()), Study) == study()
