"""What a head study leaves to the engine: fitted constants, the decision, a file that the engine reads."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from word_tokenizer import WordTokenizer

from engine.errors import UsageError
from engine.heads import gold, windows
from engine.heads.bench import Bench, Read, Replace
from engine.heads.experiments import edits
from engine.heads.trunk import Trunk
from engine.injection import choice
from engine.injection import profile as profiles
from engine.models import digest
from engine.reference.source import Source
from engine.runtime.given import heads_of
from engine.settings import folders
from engine.studies import heads, heads_profile, heads_report, results
from engine.studies.cli import study
from engine.studies.heads import Plan
from tests.engine.heads.conftest import TEXT, Steps
from tests.native import tiny_models


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.rotating(tmp_path_factory.mktemp("tiny") / "tiny.gguf", "llama")


@pytest.fixture(scope="module")
def plan() -> Plan:
    whole = windows.build("area.py", TEXT, gold.analyse(TEXT), (0, len(TEXT)), WordTokenizer())
    few = replace(whole, tokens=tuple(token % 32 for token in whole.tokens))
    return Plan(
        model="tiny", sha256="0" * 64, heads=4, tokens=512, seed=1, finding=(few,), judging=(few,),
    )  # fmt: skip


@pytest.fixture(scope="module")
def ran(plan: Plan, tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Any, Any]:
    """The study's document, the profile, and what was found."""
    with results.opened(tmp_path_factory.mktemp("run"), plan.identity) as done:
        found = heads.measure_all(plan, tiny, done, Steps())
        document = heads_report.document(found, done, plan, threads=1, command="steerway study heads tiny")
        return document, heads_profile.profile_of(document, found, done, plan), found


def test_a_profile_has_the_study_s_heads_with_their_constants(ran: Any, plan: Plan, tiny: Path) -> None:
    document, made, found = ran
    shown = [
        (one["layer"], one["head"], one["kind"], one["oracle"], one["mass"]) for one in document["heads"]
    ]
    assert [(h.layer, h.head, h.kind, h.oracle, h.share) for h in made.heads] == sorted(shown)
    trunk = Trunk(Source(tiny), plan.tokens + 1)
    bench = Bench(trunk, [Read(trunk, window) for window in plan.finding])
    by_place = {(head.layer, head.head): head for head in found.heads}
    looking = [head for head in made.heads if head.kind == "definition"]
    assert looking
    for head in looking:
        for how, fitted in (("exact", head.constant), ("sink", head.resting)):
            edit = edits(by_place[head.layer, head.head], how)
            assert isinstance(edit, Replace)
            assert fitted == pytest.approx(bench.constant(edit).tolist(), rel=1e-3, abs=1e-9)


def test_fitted_again_the_constants_are_the_same(ran: Any, plan: Plan, tiny: Path) -> None:
    document, made, _ = ran
    fitted = heads_profile._refitted(document, plan, tiny, Steps())
    again = heads_profile.profile(
        document, heads_profile.chosen_of(document), fitted, plan, command=document["command"]
    )
    assert again == made


def test_the_engine_takes_the_profile_that_a_study_kept(ran: Any, isolated_home: Path) -> None:
    _, made, _ = ran
    kept = heads_profile.keep(made)
    assert kept == folders().state / "heads" / f"{'0' * 64}.json"
    assert profiles.read(kept) == made
    found = choice.choose("sink-only", ["0" * 64], own=kept.parent, features=["heads"])
    assert len(heads_of(found)) == sum(h.kind == "definition" and h.oracle == "name" for h in made.heads)


# The decision


def decided(changes: dict[tuple[str, str], list[float]], saved: float = 0.001) -> tuple[tuple[str, ...], str]:
    kinds = ("dormant", "previous", "definition")
    return heads_profile.decide(
        {
            "arms": [{"of": of, "how": how, "all": change} for (of, how), change in changes.items()],
            "base": {"all": 2.0},
            "saving": [{"kind": kind, "context": 1024, "flops_share": saved} for kind in kinds],
            "verdict": {"passing": [], "groups": 4},
        }
    )


def test_nothing_is_on_that_neither_helps_nor_saves() -> None:
    on, why = decided(
        {
            ("all dormant", "constant"): [0.0, -0.0001, 0.0001, 9],
            ("all previous", "exact"): [0.02, 0.01, 0.03, 9],
        }
    )
    assert on == ()
    assert why == (
        "no kind is on by default; change of NLL in nats a token: "
        "dormant +0.0000 (-0.0001 to +0.0001) for 0.1% of operations, "
        "previous +0.0200 (+0.0100 to +0.0300) for 0.1% of operations; 0 of 4 KV groups pass"
    )


def test_what_saves_at_equal_quality_is_on() -> None:
    change = {
        ("all dormant", "constant"): [0.0, -0.01, 0.009, 9],
        ("all previous", "exact"): [0.0, 0.0, 0.011, 9],
    }
    assert decided(change, saved=0.02)[0] == ("dormant",)
    assert decided(change, saved=0.009)[0] == ()


def test_what_is_surely_better_is_on_and_one_way_for_the_same_heads() -> None:
    better = {
        ("all definition", "exact"): [-0.01, -0.02, -0.001, 9],
        ("reweighed", "definition x4"): [-0.02, -0.03, -0.01, 9],
        ("all previous", "exact"): [-0.0002, -0.0003, -0.0001, 9],
    }
    on, why = decided(better)
    assert on == ("re-weight",)
    assert why.startswith("re-weight on by default; change of NLL")


# Bad input


def test_results_to_fit_again_are_checked(ran: Any, tiny: Path, tmp_path: Path) -> None:
    sha256 = digest.compute(tiny)
    document = copy.deepcopy(ran[0])
    path = tmp_path / "result.json"
    for text in (
        "",
        "[]",
        '{"run": 3}',
        '{"run": {"study": "kv-reuse"}}',
        json.dumps({"run": document["run"]}),
    ):
        path.write_text(text)
        with pytest.raises(UsageError, match="is no result of the head study"):
            heads_profile.earlier(path, sha256)
    with pytest.raises(UsageError, match="is no result of the head study"):
        heads_profile.earlier(tmp_path / "none.json", sha256)
    path.write_text(json.dumps(document))
    with pytest.raises(UsageError, match="is about another model file"):
        heads_profile.earlier(path, sha256)
    assert heads_profile.earlier(path, "0" * 64)["heads"] == document["heads"]


def test_the_command_says_so_in_a_line(isolated_home: Path, tiny: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(study, ["heads", str(tiny), "--refit", str(tmp_path / "none.json")])
    assert isinstance(done.exception, UsageError)
    assert "\n" not in str(done.exception)


def test_a_place_that_cannot_be_written(ran: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        heads_profile.keep(ran[1], tmp_path / "file" / "x.json")
