"""`steerway study adapt`: an interrupted run ends as an undisturbed one; tables, the engine, bad input."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from word_tokenizer import WordTokenizer

from engine.compress import adapter, distill
from engine.compress.adapter import Pair
from engine.compress.network import Place
from engine.errors import UsageError
from engine.heads import gold, injected, windows
from engine.heads.bench import Bench, Read, Replace
from engine.heads.judging import Judge, State
from engine.heads.patterns import Part
from engine.heads.trunk import Trunk
from engine.heads.windows import Window
from engine.injection import choice, profile
from engine.models import header
from engine.reference.source import Source
from engine.runtime import extension
from engine.runtime.llama import Model
from engine.studies import adapt, adapt_engine, adapt_report, corpus, heads, lessons, results
from engine.studies.adapt import Plan
from engine.studies.cli import study
from tests.engine.heads.conftest import TEXT, Steps
from tests.native import tiny_models

ROOT = Path(__file__).resolve().parents[3]
OTHER = TEXT.replace("width", "depth").replace("name", "label")


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Products this small only wait for a second thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(adapt_engine, "default_threads", lambda: 1)
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.rotating(tmp_path_factory.mktemp("tiny") / "tiny.gguf", "llama")


def window(name: str, text: str) -> Window:
    """With token numbers that the vocabulary of `tiny` has."""
    whole = windows.build(name, text, gold.analyse(text), (0, len(text)), WordTokenizer())
    return replace(whole, tokens=tuple(token % 32 for token in whole.tokens))


@pytest.fixture(scope="module")
def plan() -> Plan:
    judged, trained = window("area.py", TEXT), window("other.py", OTHER)
    of_study = heads.Plan(
        model="tiny", sha256="0" * 64, heads=4, tokens=512, seed=1, finding=(trained,), judging=(judged,)
    )
    return Plan(
        of_study, adapt.KINDS, ("exact", "name", "sink"), 4, 8 * len(trained.tokens), (trained,),
        Place(torch.device("cpu"), torch.float32),
    )  # fmt: skip


def document(plan: Plan, model: Path, folder: Path, progress: Steps) -> dict[str, Any]:
    with results.opened(folder, plan.identity) as done:
        found = adapt.measure_all(plan, model, folder, done, lambda: nullcontext(progress))
        made = adapt_report.document(found, done, plan, threads=1, command="steerway study adapt tiny")
    return made | {"machine": {}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("whole")


@pytest.fixture(scope="module")
def whole() -> Steps:
    return Steps()


@pytest.fixture(scope="module")
def made(plan: Plan, tiny: Path, folder: Path, whole: Steps) -> dict[str, Any]:
    return document(plan, tiny, folder, whole)


@pytest.mark.parametrize("stop", [4, 15, 31, 45], ids=["fitting", "training", "judging", "pruning"])
def test_an_interrupted_run_goes_on_to_the_same_result(
    stop: int, plan: Plan, tiny: Path, made: dict[str, Any], whole: Steps, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(distill, "CHECKPOINT_SECONDS", 0.0)
    with pytest.raises(KeyboardInterrupt):
        document(plan, tiny, tmp_path, Steps(stop=stop))
    again = Steps()
    assert document(plan, tiny, tmp_path, again) == made
    assert again.fresh == whole.fresh - stop
    assert not list(tmp_path.glob("training-*"))


def test_every_arm_has_its_rows_and_its_files(made: dict[str, Any], plan: Plan, folder: Path) -> None:
    arms = {row["arm"]: row for row in made["arms"]}
    assert arms.keys() == {name for how in plan.arms for name in adapt.names_of(how)}
    for row in arms.values():
        mean, low, high, _ = row["all"]
        assert low <= mean <= high
    for how in plan.arms:
        losses = made["training"]["kl"][how]
        assert len(losses) == 8
        assert header.read(folder / f"{how}.lora.gguf").metadata["steerway.adapt.edges"] == how
    assert [(row["edges"], row["minus"]) for row in made["against"]] == [("exact", "sink"), ("name", "sink")]
    assert [row["layers"] for row in made["layers"]] == [[0], [1], [0, 1]]
    assert made["layers"][0].keys() == {"layers", "unchanged", "exact", "name", "sink"}


def test_arms_that_the_engine_can_give_have_a_head_profile(
    made: dict[str, Any], folder: Path, plan: Plan, tmp_path: Path
) -> None:
    sha256 = plan.study.sha256
    for how, setting in (("name", "definitions"), ("sink", "sink-only")):
        found = profile.read(folder / f"{how}.heads.json")
        assert [(head.layer, head.head, head.kind) for head in found.heads] == [
            (head["layer"], head["head"], head["kind"]) for head in made["heads"]
        ]
        (tmp_path / f"{sha256}.json").write_bytes((folder / f"{how}.heads.json").read_bytes())
        given = choice.choose(setting, [sha256], own=tmp_path, features=("heads",))
        assert given.kinds == (setting,)
        for _, head in given.heads:
            assert len(head.constant if how == "name" else head.resting) == 32
        assert choice.choose("auto", [sha256], own=tmp_path, features=("heads",)).kinds == ()


def test_exact_minus_sink_is_what_the_rows_say(made: dict[str, Any]) -> None:
    arms = {row["arm"]: row for row in made["arms"]}
    against = made["against"][0]
    for stage in ("injected", "adapted", "adapter alone"):
        expected = arms[f"exact: {stage}"]["all"][0] - arms[f"sink: {stage}"]["all"][0]
        assert against[stage]["all"][0] == pytest.approx(expected, abs=2e-5)


def test_shares_are_of_sure_losses_only(made: dict[str, Any]) -> None:
    for row in made["recovered"]:
        (heads_, both) = (
            next(arm for arm in made["arms"] if arm["arm"] == f"{row['arm']}: {stage}")
            for stage in ("injected", "adapted")
        )
        assert row["kl all"][0] == pytest.approx(1 - both["kl"][0] / heads_["kl"][0], abs=0.02)
        if heads_["all"][1] <= 0:
            assert row["nll all"] is None


@pytest.mark.skipif(extension.HEADS not in extension.features(), reason="the library gives no heads")
def test_llama_cpp_with_the_adapter_and_its_heads_is_the_same_model(made: dict[str, Any]) -> None:
    rows = {row["arm"]: row for row in made["engine"]}
    assert rows.keys() >= {"model: as it is", "name: injected", "name: adapted", "sink: adapted"}
    assert "exact: adapted" not in rows or all(
        part["oracle"] in ("name", "previous") for head in made["heads"] for part in head["parts"]
    )
    for row in rows.values():
        assert row["torch"] == pytest.approx(row["llama.cpp"], abs=5e-4)
        assert row["apart"] < 2e-3


def test_tables_name_everything(
    made: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    adapt_report.show(made)
    said, page = capsys.readouterr().out, adapt_report.page(made)
    for row in made["arms"]:
        assert row["arm"] in said
        assert row["arm"] in page
    assert "exact minus sink, adapted" in page
    written = adapt_report.write(made, tmp_path)
    assert json.loads(written.read_text()) == json.loads(json.dumps(made))


def test_other_training_does_not_take_up_results(plan: Plan, tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        document(plan, tiny, tmp_path, Steps(stop=1))
    for other in (replace(plan, rank=8), replace(plan, tokens=1), replace(plan, lessons=plan.lessons * 2)):
        with pytest.raises(UsageError, match="another run"):
            document(other, tiny, tmp_path, Steps())


# What is trained on


def test_lessons_are_of_other_files_than_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packages = [corpus.folder(ROOT / "engine" / "heads"), replace(corpus.folder(ROOT / "lsp"), name="httpx")]
    monkeypatch.setattr(corpus, "installed", lambda: packages)
    body = "\n\n".join(OTHER.replace("area", f"area_{n}").replace("named", f"named_{n}") for n in range(9))
    folder = tmp_path / "project"
    folder.mkdir()
    telling = "".join(
        f"# a line that is longer than sixty characters and stands in one file: {n}\n" for n in (1, 2)
    )
    for name in "abcdef":
        (folder / f"{name}.py").write_text(f"# {name}\n{body}")
    (folder / "a.py").write_text(telling + body)
    (folder / "copy.py").write_text(telling + body)
    text = telling + body
    judged = windows.build("project/a.py", text, gold.analyse(text), (0, len(text)), WordTokenizer())
    found = lessons.lessons([folder], [judged], WordTokenizer(), tokens=3000, longest=800, seed=1)
    names = [one.name for one in found]
    own = [name for name in names if name.startswith("project/")]
    assert len(own) >= 2
    assert not {"project/a.py", "project/copy.py"} & set(names)
    assert {name.partition("/")[0] for name in names} == {"project", "heads"}  # in turn, none to judge by
    assert all(len(one.tokens) <= 800 for one in found)
    again = lessons.lessons([folder], [judged], WordTokenizer(), tokens=3000, longest=800, seed=1)
    assert lessons.digest(again) == lessons.digest(found)


# Bad input


def refused(*arguments: str) -> str:
    done = CliRunner().invoke(study, ["adapt", *arguments])
    assert done.exit_code != 0
    return f"{done.exception or ''} {done.output}"


def test_bad_input_is_told_in_a_line(isolated_home: Path, tiny: Path, tmp_path: Path) -> None:
    assert "--arms 'exakt' names exakt" in refused("--arms", "exakt")
    assert "--kinds ',' names nothing" in refused("--kinds", ",")
    assert "no-such" in refused("no-such-model")
    assert "--rank" in refused("--rank", "0")
    assert "there is no" in refused(str(tiny), "--files", str(tmp_path / "none"), "--device", "cpu")
    if not torch.cuda.is_available():
        assert "no CUDA device" in refused(str(tiny), "--device", "cuda")


# The small model


@pytest.mark.slow
@pytest.mark.model
@pytest.mark.skipif(extension.HEADS not in extension.features(), reason="the library gives no heads")
def test_the_small_model_adapted_is_the_same_in_llama_cpp(small_model: Path, tmp_path: Path) -> None:
    """Heads that follow edges, constants and an adapter of every layer, against the pass in PyTorch."""
    vocabulary = Model(small_model)
    text = "\n\n".join(TEXT.replace("area", f"area_{n}") for n in range(2))
    found = windows.build("area.py", text, gold.analyse(text), (0, len(text)), vocabulary)
    vocabulary.close()
    source = Source(small_model)
    trunk = Trunk(source, 301)
    read = Read(trunk, found)
    places = ((8, 0, 0.4), (14, 3, 0.3), (5, 6, 0.2), (2, 4, 0.2), (9, 2, 0.2))
    edits = [Replace(layer, head, (Part("name", mass),)) for layer, head, mass in places]
    bench = Bench(trunk, [read])
    constants = {edit: bench.constant(edit) for edit in edits}
    random = torch.Generator().manual_seed(3)
    pairs = {}
    for name in (f"blk.{layer}.{kind}.weight" for layer in range(30) for kind in ("attn_v", "ffn_down")):
        height, columns = source.shape(name)
        a, b = (torch.randn(size, generator=random) for size in ((8, columns), (height, 8)))
        pairs[name] = Pair((a / columns**0.5).half(), (b * 0.06).half())
    file = tmp_path / "small.lora.gguf"
    adapter.write(file, "llama", pairs, {})
    given = injected.given(edits, constants)
    assert given is not None
    edges = {found.digest: injected.edges(found, edits)}
    judge = Judge(trunk)
    ours, theirs = {}, {}
    for name, state, there in (
        ("plain", State(), None),
        ("injected", State(edits, constants), adapt_engine.Given(given, edges, None)),
        ("adapted", State(edits, constants, pairs), adapt_engine.Given(given, edges, file)),
    ):
        ours[name] = judge.judge(found, state).nll.numpy()
        theirs[name] = np.array(adapt_engine.nll(small_model, [found], there)[found.digest])
    # llama.cpp rounds activations to eight bits: some hundredths of a nat a token, nothing on average.
    for name in ours:
        apart = {other: float(np.abs(theirs[name] - ours[other]).mean()) for other in ours}
        assert abs(float(ours[name].mean() - theirs[name].mean())) < 0.03
        assert all(apart[name] < 0.6 * apart[other] for other in ours if other != name), (name, apart)
