"""How documents are reused, told without loading the model."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine import diagnosis
from engine.errors import ModelFileCorrupt
from engine.injection import profile
from engine.injection.profile import Head, HeadProfile, Made
from engine.kv import cost_file, gate
from engine.kv.cost import CostModel, Costs, Work
from engine.kv.gate import Evidence, Repair, Study
from engine.models import digest
from engine.runtime import selftest
from engine.runtime.probe import Library
from engine.runtime.selftest import Report
from engine.settings import Settings, folders
from engine.standing import NEEDED, describe, describe_caches, describe_cost, describe_heads, standing

PATCHED = Library(version="1", features=NEEDED, build="b1")
EVIDENCE = Evidence(
    targets=64, kl_files=0.012, kl_chunks=0.02, top1=0.96, match=0.5, match_full=0.505,
    date="2026-11-21", command="steerway study kv-reuse",
)  # fmt: skip
SETTINGS = Settings(threads=2)


@pytest.fixture
def model(make_gguf, isolated_home: Path) -> Path:
    """A model file of the llama architecture, its hash known."""
    path = make_gguf()
    digest.of(path)
    return path


@pytest.fixture
def studied(model: Path) -> Path:
    sha256 = digest.of(model)
    gate.save(
        Study(model="tiny", sha256=sha256, evidence=EVIDENCE, repair=Repair(link_tokens=8)),
        folders().state / "gates",
    )
    return model


def remember(model: Path, report: Report) -> None:
    """As if the engine had run its self-test for this model."""
    path = selftest._path(folders().state / "selftest", digest.of(model), "q8_0", PATCHED.build)
    cost_file.replace_file(path, msgspec.json.encode(report))


def test_a_studied_model_says_so_with_its_evidence_and_self_test(studied: Path) -> None:
    remember(studied, Report(verdict="approximate", why="rotation 0.02% off"))
    found = standing(studied, SETTINGS, PATCHED)
    assert (found["mode"], found["repair"]["link_tokens"]) == ("documents", 8)
    assert describe(found) == [
        "documents: studied on 2026-11-21 over 64 targets",
        "0.012 nats off full attention over files, 0.020 over chunks of one; "
        "exact match 50.0% instead of 50.5% over 64 targets",
        "self-test: approximate, rotation 0.02% off",
    ]


@pytest.mark.parametrize("verdict", ["exact", "off"])
def test_a_failed_self_test_closes_the_gate(studied: Path, verdict: Any) -> None:
    remember(studied, Report(verdict=verdict, why="rotated keys are 5.0% off", rotation_error=0.05))
    found = standing(studied, SETTINGS, PATCHED)
    assert (found["mode"], found["reason"]) == ("prefix", "the self-test: rotated keys are 5.0% off")


def test_the_self_test_of_another_build_does_not_count(studied: Path) -> None:
    remember(studied, Report(verdict="off", why="broken"))
    found = standing(studied, SETTINGS, replace(PATCHED, build="b2"))
    assert (found["mode"], found["selftest"]) == ("documents", None)


@pytest.mark.parametrize(
    ("library", "says"),
    [
        (Library(version="1"), "this llama-cpp-python lacks loose-positions, mask-bias, kv-rows"),
        (Library(version="1", features=NEEDED[:2]), "this llama-cpp-python lacks kv-rows"),
        (Library(problem="it was ended by signal 4"), "it was ended by signal 4"),
    ],
)
def test_a_library_that_cannot_do_it_is_the_reason(studied: Path, library: Library, says: str) -> None:
    found = standing(studied, SETTINGS, library)
    assert (found["mode"], found["reason"]) == ("prefix", says)


def test_nothing_is_made_by_asking(model: Path, isolated_home: Path) -> None:
    before = sorted(isolated_home.rglob("*"))
    found = standing(model, SETTINGS, PATCHED)
    assert found["mode"] == "prefix"
    assert (found["cost"], found["selftest"], found["disk"]["bytes"]) == (None, None, 0)
    assert sorted(isolated_home.rglob("*")) == before


def test_a_file_that_is_no_model(tmp_path: Path, isolated_home: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(b"GGUF" + bytes(8))
    with pytest.raises(ModelFileCorrupt):
        standing(tmp_path / "x.gguf", SETTINGS, PATCHED)


def test_measured_costs_and_how_predictions_did(model: Path) -> None:
    key = cost_file.key_of(model=digest.of(model), build=PATCHED.build, threads=2)
    costs = Costs(measured=time.time(), decode_ms=24.0, decode_attend_ms=0.006, ram_ms=0.5, disk_ms=2.0)
    cost_file.write(folders().state / "cost", key, costs, CostModel(costs).ratios())
    found = standing(model, SETTINGS, PATCHED)["cost"]
    assert describe_cost(found) == [
        "117 tokens/s read, 24 ms a generated token, a quarter more behind 1,000 tokens",
        "rows from memory 2,000 MB/s, from disk 500 MB/s",
    ]
    live = CostModel(costs)
    live.observe(Work(compute_tokens=56), 1.5 * live.predict(Work(compute_tokens=56)))
    assert describe_cost(live.status())[-1].startswith("first token within a factor of 1.5 of the prediction")
    assert describe_cost(CostModel().status()) == []
    assert describe_cost(None) == []


def test_what_an_engine_adds_is_shown_too() -> None:
    reuse = {
        "mode": "prefix",
        "reason": "0.41 nats off full attention (median of 9 checks)",
        "shadow": {
            "verdict": "alarm",
            "checks": 9,
            "reason": "0.41 nats off full attention (median of 9 checks)",
        },
        "memory": {"units": 12, "bytes": 34_000_000, "budget_bytes": 512_000_000},
        "disk": {
            "units": 3,
            "bytes": 0,
            "budget_bytes": 0,
            "problem": "nothing is kept on disk: its budget is 0",
        },
    }
    assert describe(reuse)[1].startswith("checked against full attention 9 times: 0.41")
    assert describe_caches(reuse) == [
        "memory 34 of 512 MB, 12 pieces",
        "disk 0 of 0 MB, 3 pieces (nothing is kept on disk: its budget is 0)",
    ]
    assert describe({}) == []


def test_heads_that_are_given_and_why(model: Path) -> None:
    def said(heads: str, *features: str) -> list[str]:
        library = replace(PATCHED, features=(*NEEDED, *features))
        return describe_heads(standing(model, Settings(threads=2, heads=heads), library))

    none = "no head profile of this model; `steerway study heads` makes one"
    assert said("auto", "heads") == said("dormant", "heads") == [f"off: {none}"]
    found = HeadProfile(
        model="tiny", sha256=digest.of(model), default=("dormant",), why="they cost nothing", boost=1.0,
        made=Made("", (), 0), heads=(Head(0, 1, "dormant", "sink", 1.0),),
    )  # fmt: skip
    profile.save(found, folders().state / "heads" / f"{found.sha256}.json")
    assert said("auto", "heads") == ["1 dormant: they cost nothing"]
    assert said("auto") == ["off: this llama-cpp-python lacks heads"]
    assert said("off", "heads") == ["off: the setting heads is off"]
    assert describe_heads({}) == []
    digest.forget(model)
    assert said("dormant", "heads") == ["off: known once the model has run here"]


def test_the_doctor_warns_of_a_failed_self_test(studied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEERWAY_MODEL", str(studied))
    fine = {check.name: check for check in diagnosis.reuse(PATCHED)}
    assert [check.status for check in fine.values()] == ["ok", "ok", "ok"]
    assert fine["reuse"].found.startswith("documents: studied on")
    remember(studied, Report(verdict="off", why="keys and values do not survive being written and read"))
    broken = next(check for check in diagnosis.reuse(PATCHED) if check.name == "reuse")
    assert broken.status == "warn"
    assert "do not survive" in broken.found
    assert broken.advice
