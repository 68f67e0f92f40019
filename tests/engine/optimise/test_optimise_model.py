"""The optimiser on the small model: what it writes runs, what it claims is so, what it may not lose stays."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.errors import EngineError, ModelUnsupported
from engine.models import digest, facts, header, rewrite, variants, verify
from engine.open import open_engine
from engine.optimise import groups, optimise, speed
from engine.optimise.optimise import Optimiser
from engine.optimise.quality import Reference, Sample, sample
from engine.runtime import quantise
from engine.runtime.llama import Model
from engine.settings import Settings

pytestmark = pytest.mark.model


class Listener:
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, line: str) -> None:
        self.notes.append(line)

    def advance(self, done: int, total: int) -> None:
        self.notes.append(f"{done}/{total}")


@pytest.fixture
def optimiser(small_model: Path, isolated_home: Path, monkeypatch: pytest.MonkeyPatch) -> Optimiser:
    """One that asks little of the machine: speed here is no test's business."""
    monkeypatch.setattr(optimise, "LEAST_SPEED_UP", 0.0)
    monkeypatch.setattr(optimise, "_SEQUENCES", 2)
    monkeypatch.setattr(
        optimise, "Speed", lambda found, kinds, threads: speed.Speed(found, kinds, threads, rounds=1)
    )
    monkeypatch.setattr(optimise.search, "LEAST_GAIN", -9.0)
    asked: list[str] = []
    monkeypatch.setattr(optimise.kernels, "measure", asked.extend)
    found = Optimiser(small_model, Listener())
    assert {"Q4_1", "I3_0"} <= {*asked}, "which kernels to take is measured first"
    return found


def test_a_known_mix_becomes_a_file_that_runs(
    optimiser: Optimiser,
    small_model: Path,
    tmp_path: Path,
    isolated_home: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    target = tmp_path / "fast.gguf"
    hint = {"down, first third": "Q5_0", "attention out, last third": "I3_0", "head": "F64"}
    outcome = optimiser.run(target, loss=60, hint=hint)
    assert outcome.mix == {"down, first third": "Q5_0", "attention out, last third": "I3_0"}
    assert outcome.quality is not None
    assert 0 < outcome.quality.kl < 1
    assert outcome.quality.loss <= 60
    kinds = {tensor.name: tensor.kind for tensor in header.read(target).tensors}
    assert kinds["blk.0.ffn_down.weight"] == 6
    assert kinds["blk.29.attn_output.weight"] == 241
    found = verify.check(target)
    assert found.metadata[variants.SOURCE_KEY] == digest.of(small_model)
    assert found.metadata["s24.version"] == 1
    assert "I3_0" in facts.inspect(target).types

    monkeypatch.setenv("STEERWAY_MODELS", "")
    monkeypatch.setattr(variants, "file_of", lambda source: target)
    optimise.install(outcome)
    assert variants.preferred(small_model) == target
    assert json.loads(target.with_suffix(".json").read_text())["types"] == outcome.mix
    for form, stem in (("optimised", "fast"), ("shipped", small_model.stem)):
        engine = open_engine(str(small_model), settings=Settings(model_form=form))  # type: ignore[arg-type]
        assert engine.info.model == stem
        engine.close()


def test_too_much_loss_keeps_the_shipped_file(optimiser: Optimiser, tmp_path: Path) -> None:
    outcome = optimiser.run(tmp_path / "x.gguf", loss=0.01, hint={"gate and up, first third": "S24_0"})
    assert (outcome.mix, outcome.file) == ({}, outcome.source)
    assert "perplexity would be" in outcome.reason
    assert not list(tmp_path.glob("*.gguf"))


def test_a_file_is_nothing_away_from_itself(small_model: Path) -> None:
    model = Model(small_model)
    wanted = sample(lambda text: model.encode(text, special=False), 1)
    model.close()
    assert isinstance(wanted, Sample)
    found = Reference(small_model, wanted, threads=2).compare(small_model)
    assert found.top1 > 0.999
    assert abs(found.kl) < 1e-3
    assert found.loss == pytest.approx(0, abs=0.1)


def test_quantising_is_ggmls(small_model: Path) -> None:
    """Every row is quantised once, whatever the threads, and comes back as it was stored."""
    found = header.read(small_model)
    tensor = groups.groups(found)[1].tensors[0]
    columns = tensor.shape[0]
    data = rewrite.read(small_model, found, tensor)
    weights = quantise.floats(tensor.kind, data, columns)
    assert weights.shape == (tensor.elements // columns, columns)
    for kind in (2, 8, 240, 241):
        again = quantise.floats(kind, quantise.quantised(kind, weights), columns)
        alone = quantise.floats(kind, quantise.quantised(kind, weights[5:6]), columns)
        assert (again[5:6] == alone).all()
        error = float(((again - weights) ** 2).sum() / (weights**2).sum())
        assert error < {2: 0.02, 8: 1e-4, 240: 0.25, 241: 0.06}[kind]


def test_types_this_build_does_not_have_are_refused() -> None:
    with pytest.raises(EngineError, match="no weight type 100"):
        quantise.floats(100, b"", 64)
    with pytest.raises(EngineError, match="cannot be q4_K"):
        quantise.floats(12, b"", 96)


def test_a_library_without_our_types_says_so(
    optimiser: Optimiser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "own.gguf"
    optimiser.run(target, loss=1e9, hint={"down, last third": "I3_0"})
    monkeypatch.setattr(quantise, "knows", lambda kind: kind < 200)
    with pytest.raises(ModelUnsupported, match="does not know"):
        Model(target)
