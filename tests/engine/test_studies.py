"""A study without a model: which code it measures on, what its numbers mean, and what a kill loses."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parent))

from word_tokenizer import WordTokenizer

from engine.errors import UsageError
from engine.prompt.layouts import QWEN
from engine.studies import arms, corpus, figure, kv_reuse, report, results, statistics, summary, tasks
from engine.studies.cli import study

ROOT = Path(__file__).resolve().parents[2]


def language() -> tasks.Language:
    return tasks.Language(WordTokenizer(), QWEN)


def repository(folder: Path, files: int = 6) -> Path:
    """A package whose files import each other, long enough for every set."""
    root = folder / "shop"
    root.mkdir()
    for number in range(files):
        others = [other for other in range(files) if other != number]
        lines = [f"from .part{other} import Thing{other}, make_{other}" for other in others]
        for block in range(20):
            other = (number + block) % files
            lines += [
                "",
                "",
                f"def step_{number}_{block}(count, name):",
                f'    """Do step {block} of part {number} for a thing that is given by its name."""',
                f"    thing = make_{other}(name, count + {block})",
                f"    return Thing{other}(thing, count * {block + 1}, label=name + '-{block}')",
            ]
        lines += [
            f"class Thing{number}:",
            "    pass",
            "",
            "",
            f"def make_{number}(name, count):",
            "    return name",
        ]
        (root / f"part{number}.py").write_text("\n".join(lines) + "\n")
    (root / "__init__.py").write_text("from .part0 import Thing0\n" * 100)
    return root


# Which code


def test_the_same_seed_chooses_the_same_packages_and_places(tmp_path: Path) -> None:
    package = corpus.folder(repository(tmp_path))
    chosen = [
        [tasks.collect([package], language(), name=name, count=5, seed=seed) for name in tasks.SETS]
        for seed in (7, 7, 8)
    ]
    assert chosen[0] == chosen[1]
    assert chosen[0] != chosen[2]
    assert [len(found) > 0 for found in chosen[0]] == [True] * 4


def test_packages_are_shuffled_by_the_seed_alone() -> None:
    packages = [corpus.Package(name, "1", ()) for name in "abcdefgh"]
    once = [one.name for one in corpus.choose(packages, 4, seed=1)]
    assert once == [one.name for one in corpus.choose(packages[::-1], 4, seed=1)]
    assert once != [one.name for one in corpus.choose(packages, 4, seed=2)]


def test_installed_packages_have_versions_and_files() -> None:
    found = {one.name: one for one in corpus.installed()}
    assert len(found) >= 12
    assert found["click"].version
    assert any(str(file.path) == "click/utils.py" for file in found["click"].files)


def test_imports_of_the_own_package_are_found_relative_and_absolute() -> None:
    texts = {
        "shop/__init__.py": "from .part import thing\n",
        "shop/part.py": "import shop.deep.leaf\nimport os\n",
        "shop/deep/__init__.py": "from .. import part\n",
        "shop/deep/leaf.py": "from ..part import thing, other\nfrom . import no\nfrom shop import part\n",
    }
    files = {name: corpus.SourceFile(PurePosixPath(name), text) for name, text in texts.items()}
    package = corpus.Package("shop", "1", tuple(files.values()))
    assert corpus.imports(package, files["shop/__init__.py"]) == {"shop.part": {"thing"}}
    assert list(corpus.imports(package, files["shop/part.py"])) == ["shop.deep.leaf"]
    assert list(corpus.imports(package, files["shop/deep/__init__.py"])) == ["shop.part"]
    leaf = corpus.imports(package, files["shop/deep/leaf.py"])
    assert leaf["shop.part"] == {"thing", "other", "part"}


def test_a_file_that_does_not_parse_imports_nothing() -> None:
    file = corpus.SourceFile(PurePosixPath("shop/bad.py"), "def (:\n")
    assert corpus.imports(corpus.Package("shop", "1", (file,)), file) == {}


def test_a_folder_with_too_little_code_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="0 usable Python files"):
        corpus.folder(tmp_path)
    with pytest.raises(UsageError, match="is no folder"):
        corpus.folder(tmp_path / "none")


def test_documents_of_a_separate_target_are_other_files_and_end_before_it(tmp_path: Path) -> None:
    package = corpus.folder(repository(tmp_path))
    spoken = language()
    (task,) = tasks.collect([package], spoken, name="separate", count=1, seed=1)
    path = task.name.removeprefix("separate/").partition(":")[0]
    titles = [spoken.text(document).partition("\n")[0] for document in task.documents]
    assert len(set(titles)) == tasks.DOCUMENTS
    assert path not in titles
    assert spoken.text(task.lead).startswith(f"{path}\n")
    assert len(task.target) == tasks.TARGET_TOKENS
    assert all(len(document) <= tasks.DOCUMENT_TOKENS + 1 for document in task.documents)


def test_chunks_of_one_file_join_to_the_text_before_the_target(tmp_path: Path) -> None:
    package = corpus.folder(repository(tmp_path))
    spoken = language()
    for task in tasks.collect([package], spoken, name="same", count=3, seed=1):
        parts = (*task.documents, task.lead, task.target)
        title, _, body = "".join(map(spoken.text, parts)).partition("\n")
        whole = next(file.text for file in package.files if str(file.path) == title)
        assert body in whole
        assert max(map(len, task.documents)) <= tasks.CHUNK_TOKENS + 8


def test_an_edit_puts_lines_into_the_second_chunk_only(tmp_path: Path) -> None:
    package = corpus.folder(repository(tmp_path))
    for task in tasks.collect([package], language(), name="edit", count=3, seed=1):
        same = [old == new for old, new in zip(task.before, task.documents, strict=True)]
        assert same == [True, False, True, True]
        assert len(task.before[1]) < len(task.documents[1])


def test_models_without_markers_have_no_keystrokes(tmp_path: Path) -> None:
    from engine.prompt.layouts import PLAIN

    package = corpus.folder(repository(tmp_path))
    spoken = tasks.Language(WordTokenizer(), PLAIN)
    assert tasks.collect([package], spoken, name="keystroke", count=3, seed=1) == []


# Which arms


@pytest.mark.parametrize("name", sorted({name for found in arms.ALL.values() for name in found}))
def test_names_of_arms_are_read_back(name: str) -> None:
    assert arms.parse(arms.parse(name).name) == arms.parse(name)


@pytest.mark.parametrize("text", ["", "blocks", "sequential+lnk=4", "sequential+link=x", "sequential+T=9"])
def test_an_arm_that_means_nothing_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        arms.parse(text)


def test_the_core_arms_are_among_all() -> None:
    assert all(set(arms.CORE[name]) <= set(arms.ALL[name]) for name in tasks.SETS)


# What the numbers mean


def test_divergence_is_the_sum_over_the_vocabulary() -> None:
    dice = np.random.default_rng(1)
    full, other = dice.normal(0, 3, (2, 5, 40)).astype(np.float32)
    expected = []
    for a, b in zip(full.astype(float), other.astype(float), strict=True):
        p, q = np.exp(a) / np.exp(a).sum(), np.exp(b) / np.exp(b).sum()
        expected.append(float((p * np.log(p / q)).sum()))
    reference = statistics.Reference(full)
    assert reference.divergence(other, statistics.log_totals(other)) == pytest.approx(expected, abs=1e-5)
    same = full + 7
    assert reference.divergence(same, statistics.log_totals(same)) == pytest.approx(0, abs=1e-5)


def test_surprise_is_the_negative_log_probability() -> None:
    logits = np.log(np.array([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]], np.float32)) + 3
    found = statistics.surprise(logits, statistics.log_totals(logits), [0, 2])
    assert found == pytest.approx([-np.log(0.5), -np.log(0.8)], abs=1e-6)


def test_a_bootstrap_covers_the_mean_about_as_often_as_it_says() -> None:
    dice, covered = np.random.default_rng(3), 0
    for _ in range(100):
        found = statistics.bootstrap(list(dice.exponential(1.0, 40)), seed=5)
        covered += found.low <= 1.0 <= found.high
    assert 85 <= covered <= 100


def test_a_bootstrap_is_the_same_for_the_same_seed() -> None:
    values = [1.0, 2.0, 4.0]
    assert statistics.bootstrap(values, seed=1) == statistics.bootstrap(values, seed=1)
    assert statistics.bootstrap(values, seed=1, weights=[1, 1, 2]).mean == pytest.approx(11 / 4)
    assert np.isnan(statistics.bootstrap([], seed=1).mean)


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [("", "", 1.0), ("kitten", "sitting", 1 - 3 / 7), ("abc", "", 0.0), ("abc", "abc", 1.0)],
)
def test_similarity_is_one_minus_the_edit_distance(left: str, right: str, expected: float) -> None:
    assert statistics.similarity(left, right) == pytest.approx(expected)


# A run that is killed goes on


class CountingBench:
    """Measures nothing, but counts; arms differ by a known KL."""

    kl = {"full": 0.0, "none": 0.4, "sequential+near=32": 0.01, "chained+near=32": 0.005}  # noqa: RUF012

    def __init__(self) -> None:
        self.measured: list[str] = []
        self.language = language()

    def measure(self, task: tasks.Task, chosen: Sequence[arms.Arm], *, seed: int) -> dict[str, Any]:
        self.measured.append(task.name)
        return {arm.name: self._measure(self.kl.get(arm.name, 0.2)) for arm in chosen}

    def load_or_recompute(
        self, tokens: Sequence[int], folder: Path, step: Callable[[], None]
    ) -> list[dict[str, Any]]:
        assert len(tokens) > 64
        row = {"tokens": 64, "kind": "q8_0", "bytes": 640_000, "compute_ms": 500.0, "place_ms": 1.0}
        return [{**row, "page_cache_ms": 1.5, "disk_ms": None, "breakeven_mb_s": 1.3}]

    def _measure(self, kl: float) -> dict[str, Any]:
        about = {"tokens": 100, "kl": kl, "nll": 1 + kl, "top1": 1 - kl, "lines": 10, "lines_exact": 5}
        return {**about, "first_exact": True, "same_line": True, "similarity": 1.0, "computed": 32}


@pytest.mark.parametrize("arms_by_set", [arms.CORE, arms.ALL])
def test_arms_that_are_run_unnamed_can_be_named(arms_by_set: dict[str, tuple[str, ...]]) -> None:
    for name, wanted in arms_by_set.items():
        assert set(arms.arms_of(",".join(wanted))[name]) == {arms.parse(arm).name for arm in wanted}


class Silent:
    def begin(self, total: int) -> None: ...

    def step(self, what: str, *, fresh: bool) -> None: ...


def plan_for(folder: Path, judge: str = "sequential+near=32", count: int = 8) -> kv_reuse.Plan:
    named = arms.arms_of("full,none,sequential,sequential+near=32,chained+near=32")
    package = corpus.folder(repository(folder))
    return kv_reuse.Plan("tiny", "0" * 64, targets=count, arms=named, packages=(package,), judge=judge)


def test_a_second_run_measures_nothing_again(tmp_path: Path) -> None:
    plan, bench = plan_for(tmp_path), CountingBench()
    for _ in range(2):
        with results.opened(tmp_path / "out", plan.identity) as found:
            kv_reuse.run(plan, bench, found, progress=Silent())
    assert len(bench.measured) == len(set(bench.measured)) == len(kv_reuse.targets(plan, language()))


def test_half_a_line_of_a_killed_run_is_measured_again(tmp_path: Path) -> None:
    plan, bench = plan_for(tmp_path), CountingBench()
    with results.opened(tmp_path / "out", plan.identity) as found:
        kv_reuse.run(plan, bench, found, progress=Silent())
    file = tmp_path / "out" / results.FILE
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(lines[:4]) + lines[4][: len(lines[4]) // 2])
    again = CountingBench()
    with results.opened(tmp_path / "out", plan.identity) as found:
        assert len(found) == 3
        kv_reuse.run(plan, again, found, progress=Silent())
    assert again.measured == bench.measured[3:]
    assert sorted(file.read_text().splitlines()) == sorted(line.rstrip() for line in lines)


def test_results_of_another_run_are_kept_unless_told(tmp_path: Path) -> None:
    with results.opened(tmp_path, {"seed": 1}) as found:
        found.add("one", {"kl": 0.5})
    with pytest.raises(UsageError, match="another seed"):
        results.Results(tmp_path, {"seed": 2})
    assert '"one"' in (tmp_path / results.FILE).read_text()
    with results.opened(tmp_path, {"seed": 2}, fresh=True) as found:
        assert len(found) == 0


def test_two_runs_do_not_write_one_file(tmp_path: Path) -> None:
    with results.opened(tmp_path, {"seed": 1}), pytest.raises(UsageError, match="another study writes"):
        results.Results(tmp_path, {"seed": 1})
    results.Results(tmp_path, {"seed": 1}).close()


def test_what_is_added_survives_a_kill(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from engine.studies.results import Results\n"
        "found = Results(Path(sys.argv[1]), {'seed': 1})\n"
        "for n in range(10**6): found.add(str(n), {'n': n}); print(n, flush=True)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as child:
        assert child.stdout is not None
        said = [int(child.stdout.readline()) for _ in range(20)]
        os.kill(child.pid, signal.SIGKILL)
    with results.opened(tmp_path, {"seed": 1}) as found:
        assert all(found.get(str(n)) == {"n": n} for n in said)


# What it leaves behind


def finished(tmp_path: Path, *, count: int = 8) -> tuple[kv_reuse.Plan, dict[str, Any]]:
    plan = plan_for(tmp_path, count=count)
    with results.opened(tmp_path / "out", plan.identity) as found:
        names = kv_reuse.run(plan, CountingBench(), found, progress=Silent())
        document = report.write(
            found,
            plan,
            names,
            tmp_path / "out",
            command="steerway study",
            threads=2,
            gates=tmp_path / "gates",
        )
    return plan, document


def test_tables_figure_and_json_hold_the_same_means(tmp_path: Path) -> None:
    _, document = finished(tmp_path)
    saved = json.loads((tmp_path / "out" / "kv-reuse-tiny.json").read_text())
    rows = {row["arm"]: row for row in saved["sets"]["separate"]}
    assert rows["sequential+near=32"]["kl"][0] == pytest.approx(0.01)
    assert rows["sequential+near=32"]["gain_kept"][0] == pytest.approx(0.975)
    page = (tmp_path / "out" / "kv-reuse-tiny.md").read_text()
    assert "| `sequential+near=32` | 0.0100 (0.0100 to 0.0100) |" in page
    drawing = (tmp_path / "out" / "kv-reuse-tiny.svg").read_text()
    assert "sequential+near=32" in drawing
    assert figure.draw(document) == drawing


def test_the_figure_is_an_image(tmp_path: Path) -> None:
    import cairosvg

    _, document = finished(tmp_path)
    assert cairosvg.svg2png(figure.draw(document).encode()).startswith(b"\x89PNG")


def test_a_repair_that_passes_opens_the_models_gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from engine.kv import gate

    monkeypatch.setattr(gate, "LEAST_TARGETS", 4)
    plan, document = finished(tmp_path)
    assert document["chosen"]["why"] == ""
    saved = json.loads((tmp_path / "gates" / f"{plan.sha256}.json").read_text())
    assert saved["repair"]["near_tokens"] == 32
    assert saved["evidence"]["kl_files"] == pytest.approx(0.01)
    assert saved["evidence"]["kl_chunks"] == pytest.approx(0.005)


def test_too_few_targets_open_no_gate(tmp_path: Path) -> None:
    _, document = finished(tmp_path)
    assert "are fewer than 40" in document["chosen"]["why"]
    assert not (tmp_path / "gates").exists()


def test_a_repair_is_chosen_on_one_half_and_judged_on_the_other(tmp_path: Path) -> None:
    def target(name: str, package: str, kl: dict[str, float]) -> dict[str, Any]:
        bench = CountingBench.__new__(CountingBench)
        return {"set": name, "package": package, "arms": {arm: bench._measure(kl[arm]) for arm in kl}}

    first = {"full": 0.0, "none": 0.4, "sequential+near=32": 0.01, "shared+near=32": 0.02}
    second = {**first, "sequential+near=32": 0.2, "shared+near=32": 0.001}
    chunks = {"full": 0.0, "none": 0.4, "chained+near=32": 0.005}
    targets = [
        *(target("separate", "a", first), target("same", "a", chunks)),
        *(target("separate", "b", second), target("same", "b", chunks)),
    ]
    identity = {"seed": 1, "corpus": ["a 1 0", "b 1 0"], "arms": {"separate": list(first)}}
    chosen = summary.choose(targets, identity, judge="", date="", command="")
    assert chosen is not None
    assert chosen.arm == "sequential+near=32"
    assert chosen.evidence.kl_files == pytest.approx(0.2)


def test_a_repair_that_falls_short_writes_no_gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CountingBench.kl, "sequential+near=32", 0.05)
    _, document = finished(tmp_path)
    assert document["gate"] is None
    assert document["chosen"]["why"]
    assert not (tmp_path / "gates").exists()


def test_arms_that_only_a_study_runs_are_no_repairs() -> None:
    names = ("full", "plain", "chained+near=32", "sequential", "sequential+near=32+sink=16")
    assert [summary.repair_of(arms.parse(name)) for name in names] == [None] * 5
    repair = summary.repair_of(arms.parse("shared+near=16+bias=0.5+link=8+T=1.05"))
    assert repair is not None
    assert (repair.layout, repair.near_tokens, repair.bias, repair.link_tokens) == ("shared", 16, 0.5, 8)


def test_a_wrong_arm_is_refused_before_anything_is_read(isolated_home: Path) -> None:
    answer = CliRunner().invoke(study, ["kv-reuse", "none.gguf", "--arms", "blocks"])
    assert isinstance(answer.exception, UsageError)
    assert "'blocks' means nothing" in str(answer.exception)
