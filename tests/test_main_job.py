"""A journal's current step decides the suggestion: right with its documents, wrong without."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli import steerway

pytestmark = pytest.mark.model

ROOT = Path(__file__).parent.parent
HOLE = "entry = book"
PLACE = "ledger/refunds.py:10:17"


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """A copy of the example's repository."""
    ignored = shutil.ignore_patterns("__pycache__", ".steerway")
    return shutil.copytree(ROOT / "examples/ledger", tmp_path / "ledger", ignore=ignored)


def complete(folder: Path, *arguments: str) -> dict[str, Any]:
    done = steerway("complete", PLACE, "--json", *arguments, cwd=folder)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def passes(folder: Path, text: str) -> bool:
    """Whether the example's tests pass with `text` accepted at the hole."""
    file = folder / "ledger/refunds.py"
    original = file.read_text()
    file.write_text(original.replace(HOLE, HOLE + text))
    command = [sys.executable, "-m", "unittest", "-q", "tests.test_refunds", "tests.test_book"]
    done = subprocess.run(command, cwd=folder, capture_output=True)
    file.write_text(original)
    return done.returncode == 0


def test_the_suggestion_is_right_with_the_step_and_wrong_without(ledger: Path, default_model: Path) -> None:
    model = ("--model", str(default_model))
    with_step = complete(ledger, "--step", "w3d5", *model)
    other_step = complete(ledger, "--step", "r7k2", *model)
    without = complete(ledger, "--no-journal", *model)
    assert "docs/corrections.md" in {d["name"] for d in with_step["documents"]}
    assert passes(ledger, with_step["text"])
    assert not passes(ledger, other_step["text"])
    assert not passes(ledger, without["text"])


def test_the_answer_has_the_documented_shape(ledger: Path, small_model: Path) -> None:
    answer = complete(ledger, "--step", "w3d5", "--model", str(small_model), "--max-tokens", "4")
    documents = answer["documents"]
    assert {"name", "kind", "tokens", "from"} <= set(documents[0])
    assert {d["from"] for d in documents} == {"computed"}
    assert answer["tokens_computed"] >= sum(d["tokens"] for d in documents)
    assert 0 < answer["first_token_ms"] <= answer["total_ms"]
    assert answer["stop"] in {"length", "line", "statement", "suffix", "eos", "empty"}


def test_the_current_step_is_used_when_none_is_named(ledger: Path, small_model: Path) -> None:
    """Without --step it is the one in state `doing`, the first."""
    named = complete(ledger, "--step", "r7k2", "--model", str(small_model), "--max-tokens", "4")
    current = complete(
        ledger, "--journal", "refunds.journal.md", "--model", str(small_model), "--max-tokens", "4"
    )
    assert current["documents"] == named["documents"]
    assert current["text"] == named["text"]
