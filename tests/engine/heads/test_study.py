"""`steerway study heads`: an interrupted run ends as an undisturbed one; tables, figure, bad input."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from word_tokenizer import WordTokenizer

from engine.errors import UsageError
from engine.heads import gold, windows
from engine.studies import heads, heads_figure, heads_report, heads_table, results
from engine.studies.cli import study
from engine.studies.heads import Plan
from tests.engine.heads.conftest import TEXT, Steps
from tests.native import tiny_models

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.rotating(tmp_path_factory.mktemp("tiny") / "tiny.gguf", "llama")


@pytest.fixture(scope="module")
def plan() -> Plan:
    whole = windows.build("area.py", TEXT, gold.analyse(TEXT), (0, len(TEXT)), WordTokenizer())
    few = replace(whole, tokens=tuple(token % 32 for token in whole.tokens))  # the vocabulary of `tiny`
    return Plan(
        model="tiny", sha256="0" * 64, heads=3, tokens=512, seed=1,
        finding=(few,), judging=(few,), library=(), renamed=(few,),
    )  # fmt: skip


def document(plan: Plan, model: Path, folder: Path, progress: Any) -> dict[str, Any]:
    with results.opened(folder, plan.identity) as done:
        found = heads.measure_all(plan, model, done, progress)
        made = heads_report.document(found, done, plan, threads=1, command="steerway study heads tiny")
    return made | {"machine": {}}


@pytest.fixture(scope="module")
def made(plan: Plan, tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return document(plan, tiny, tmp_path_factory.mktemp("whole"), Steps())


def test_an_interrupted_run_goes_on_to_the_same_profile(
    plan: Plan, tiny: Path, made: dict[str, Any], tmp_path: Path
) -> None:
    rest = Steps()
    with pytest.raises(KeyboardInterrupt):
        document(plan, tiny, tmp_path, Steps(stop=9))
    assert document(plan, tiny, tmp_path, rest) == made
    assert rest.done == rest.total == rest.fresh + 9


def test_the_profile_has_every_arm_with_its_interval(made: dict[str, Any], tmp_path: Path) -> None:
    expected = made
    assert {arm["of"] for arm in expected["arms"]} >= {
        "all kinds",
        "all definition",
        "group 0.0",
        "reweighed",
        "layer 1",
    }
    by = {(arm["of"], arm["how"]): arm for arm in expected["arms"]}
    assert by["group 0.0", "exact"]["replaced"] == 2
    assert all(arm["windows"] == 1 for arm in expected["arms"])
    low, mean, high = (by["layer 0", "without its attention"]["all"][place] for place in (1, 0, 2))
    assert low <= mean <= high
    assert expected["verdict"]["groups"] == 2
    assert [row["layer"] for row in expected["layers"]] == [0, 1]

    figure = heads_report.write(expected, tmp_path / "out" / "tiny.json")
    assert json.loads((tmp_path / "out" / "tiny.json").read_text()) == json.loads(json.dumps(expected))
    drawing = ET.fromstring(figure.read_text())
    assert any("tiny" in (each.text or "") for each in drawing.iter())
    assert figure.read_text() == heads_figure.draw(expected)


def test_the_tables_show_every_head_and_arm(made: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    heads_table.show(made)
    said = capsys.readouterr().out
    for arm in made["arms"]:
        assert arm["how"].partition(",")[0] in said
    for head in made["heads"]:
        assert f"{head['layer']}.{head['head']}" in said
    assert "KV groups pass" in said
    rows = heads_table.page(made, of=["layer"]).splitlines()
    assert len(rows) == 2 + sum(arm["of"].startswith("layer") for arm in made["arms"])


def test_results_of_another_plan_are_not_continued(plan: Plan, tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        document(plan, tiny, tmp_path, Steps(stop=1))
    with pytest.raises(UsageError, match="another run"):
        document(replace(plan, heads=2), tiny, tmp_path, Steps())


# Bad input


def refused(*arguments: str) -> str:
    done = CliRunner().invoke(study, ["heads", *arguments])
    assert done.exit_code != 0
    return f"{done.exception or ''} {done.output}"


def test_bad_input_is_told_in_a_line(isolated_home: Path, tiny: Path, tmp_path: Path) -> None:
    assert "no-such" in refused("no-such-model")
    assert "there is no" in refused(str(tiny), "--files", str(tmp_path / "none"))
    assert "--heads" in refused("--heads", "41")
    (tmp_path / "no.gguf").write_text("text")
    assert "no.gguf" in refused(str(tmp_path / "no.gguf"))


@pytest.mark.model
def test_files_with_too_little_python_are_refused(
    isolated_home: Path, small_model: Path, tmp_path: Path
) -> None:
    (tmp_path / "few.py").write_text("x = 1\n" * 400)
    assert "enough whole functions" in refused(str(small_model), "--files", str(tmp_path / "few.py"))


@pytest.mark.model
def test_windows_of_the_real_tokenizer_spell_their_files(small_model: Path) -> None:
    found = heads.plan(
        "small", "", small_model, files=[ROOT / "engine" / "heads", ROOT / "engine" / "kv"],
        heads=4, tokens=512, count=2, seed=1,
    )  # fmt: skip
    assert found.finding
    assert {window.name for window in found.judging}.isdisjoint(window.name for window in found.finding)
    assert {window.name for window in found.renamed} == {window.name for window in found.judging}
    for window in (*found.finding, *found.judging):
        assert len(window.tokens) <= 512
        assert all(edge.name[-1] < edge.at - 3 for edge in window.edges)
