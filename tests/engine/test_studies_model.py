"""The study over the small real model: exact where it must be, and the command from end to end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from engine.runtime import extension
from engine.studies import arms, corpus, tasks
from engine.studies.cli import study
from engine.studies.lab import Lab
from engine.studies.trial import Trial

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [
    pytest.mark.model,
    pytest.mark.skipif(
        extension.KV_ROWS not in extension.features(), reason="the library cannot place keys and values"
    ),
]


@pytest.fixture(scope="module")
def lab(small_model: Path) -> Iterator[Lab]:
    found = Lab(small_model, context_tokens=2048)
    yield found
    found.close()


@pytest.fixture(scope="module")
def task(lab: Lab) -> tasks.Task:
    """A real place, its documents cut to a size that a busy machine does in seconds."""
    package = corpus.folder(ROOT / "engine")
    (found,) = tasks.collect([package], lab.language, name="separate", count=1, seed=3)
    return replace(found, documents=tuple(one[:96] for one in found.documents), target=found.target[:48])


def measured(lab: Lab, task: tasks.Task, *names: str) -> dict[str, dict[str, float]]:
    return Trial(lab, task, seed=1).run([arms.parse(name) for name in names])


def test_recomputing_everything_is_full_attention(lab: Lab, task: tasks.Task) -> None:
    found = measured(lab, task, "again", "sequential", "sequential+blend=1", "none")
    noise = max(found["again"]["kl"], 0.002)
    assert found["full"]["kl"] == pytest.approx(0, abs=1e-5)
    assert found["sequential+blend=1+pick=random"]["kl"] < 4 * noise
    assert found["sequential"]["kl"] > 4 * noise
    assert found["none"]["kl"] > found["sequential"]["kl"]
    assert found["full"]["same_line"]


def test_chained_rows_are_full_attention_however_they_are_placed(lab: Lab, task: tasks.Task) -> None:
    found = measured(lab, task, "again", "chained", "chained+q8_0")
    noise = max(found["again"]["kl"], 0.002)
    assert found["chained"]["kl"] < 4 * noise
    assert found["chained+q8_0"]["kl"] < 8 * noise


def test_repairs_and_layouts_change_what_they_say(lab: Lab, task: tasks.Task) -> None:
    names = ("sequential", "shared", "sequential+bias=8", "sequential+bias=-8", "sequential+T=2")
    found = measured(lab, task, *names)
    assert len({round(found[name]["kl"], 5) for name in names}) == len(names)
    assert found["sequential"]["kl"] == min(found[name]["kl"] for name in names)
    counted = measured(lab, task, "sequential+near=16", "sequential+link=8+near=16")
    extra = counted["sequential+link=8+near=16"]["computed"] - counted["sequential+near=16"]["computed"]
    assert extra == 8 * (len(task.documents) - 1)


def test_the_oracle_recomputes_what_is_furthest_away(lab: Lab, task: tasks.Task) -> None:
    found = measured(lab, task, "sequential", "sequential+blend=0.3+pick=oracle")
    assert found["sequential+blend=0.3+pick=oracle"]["kl"] < found["sequential"]["kl"]


def test_a_document_moved_there_and_back_has_its_keys_again(lab: Lab, task: tasks.Task) -> None:
    block = lab.encode(task.documents[0], task.header)
    lab.clear()
    lab.place(block, 500)
    end = 500 + len(block.tokens)
    moved = replace(block, rows=lab.read(500, end), base=500)
    lab.clear()
    lab.place(moved, block.base)
    back = lab.keys(lab.read(block.base, block.base + len(block.tokens)), len(block.tokens))
    for before, after in zip(lab.keys(block.rows, len(block.tokens)), back, strict=True):
        assert np.abs(before - after).max() <= 0.01 * np.abs(before).max()


def test_an_edit_is_exact_when_everything_stale_is_recomputed(lab: Lab) -> None:
    package = corpus.folder(ROOT / "engine")
    (found,) = tasks.collect([package], lab.language, name="edit", count=1, seed=3)
    found = replace(found, target=found.target[:32])
    got = measured(lab, found, "again", "stale", "stale+link=512", "pie", "pie+link=512")
    noise = max(got["again"]["kl"], 0.002)
    assert got["stale+link=512"]["kl"] < 4 * noise
    assert got["pie+link=512"]["kl"] < 4 * noise
    assert got["pie"]["computed"] < got["stale+link=512"]["computed"]


@pytest.mark.timeout(1200)
def test_the_command_measures_writes_and_goes_on(
    small_model: Path, isolated_home: Path, tmp_path: Path
) -> None:
    names = "full,none,sequential,sequential+near=16,chained+near=16"
    command = ["kv-reuse", str(small_model), "--targets", "4", "--arms", names, "--no-loading", "--json"]
    command += ["--corpus", str(ROOT / "engine"), "--out", str(tmp_path)]
    command += ["--judge", "sequential+near=16"]  # one folder: no second half of the corpus to judge on
    first = CliRunner().invoke(study, command, catch_exceptions=False)
    assert first.exit_code == 0
    document = json.loads(first.stdout)
    assert document["targets"] == {"separate": 2, "same": 2}
    rows = {row["arm"]: row for row in document["sets"]["separate"]}
    assert rows["none"]["kl"][0] > rows["sequential"]["kl"][0] > 0
    assert document["chosen"]["why"].endswith("targets are fewer than 40")
    assert document["gate"] is None
    again = CliRunner().invoke(study, command, catch_exceptions=False)
    assert json.loads(again.stdout)["sets"] == document["sets"]
    assert "left" not in again.stderr
