"""Recovery of whole models: what training changes, what it keeps, and that a stopped run goes on."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from engine.compress import distill, export, job, judge, layers, packing, recovery, work
from engine.compress.distill import Training
from engine.compress.divergence import divergence
from engine.compress.layers import Recipe
from engine.compress.network import Network, Place
from engine.compress.options import Options
from engine.compress.recovery import Lesson
from engine.compress.solver import nearest
from engine.compress.tokens import Data
from engine.compress.trained import Scaled
from engine.formats import FORMATS, I3_0, S24_0
from engine.reference import architecture, forward
from engine.reference.architecture import LINEARS
from engine.reference.source import Source

PLACE = Place(torch.device("cpu"), torch.float32)
NAMES = [f"blk.{layer}.{name}.weight" for layer in range(2) for name in LINEARS]
TRAINING = Training(30, 4)


@pytest.fixture
def solved(tiny, data, steps, tmp_path: Path):
    """The tiny model with all layers 2:4, by magnitude: much is left to recover."""
    recipe = Recipe("magnitude", dict.fromkeys(NAMES, S24_0))
    with work.opened(tmp_path / "solved", recipe.identity) as kept:
        return layers.compress(tiny, data, recipe, kept, steps())


def lesson(data, steps, training=TRAINING) -> Lesson:
    return Lesson(data.calibration, training, PLACE, lambda: nullcontext(steps))


def distilled(tiny, data, solved, folder: Path, progress, training=TRAINING):
    with work.opened(folder, {}) as kept:
        return recovery.distilled(tiny, solved.changed, lesson(data, progress, training), kept)


def apart(tiny, data, changed) -> float:
    """Mean KL on the calibration itself."""
    ours, theirs = (Network(tiny, which, PLACE, positions=48) for which in (changed, {}))
    with torch.no_grad():
        states = [network.states(data.calibration) for network in (ours, theirs)]
    return float(divergence(*states, (ours.head, theirs.head)))


def test_distillation_gets_closer_with_the_same_integers(tiny, data, steps, solved, tmp_path: Path) -> None:
    found = distilled(tiny, data, solved, tmp_path / "work", steps())
    assert apart(tiny, data, found) < 0.7 * apart(tiny, data, solved.changed)
    assert layers.judge(tiny, data, found)["text"].kl < solved.quality["text"].kl

    out = tmp_path / "out.gguf"
    export.write(tiny, out, found, {})
    written = Source(out)
    for name in NAMES:
        before, after = (S24_0.unpack(raw) for raw in (solved.changed[name].data, written.raw(name)))
        assert all(np.array_equal(a, b) for a, b in zip(before[:2], after[:2], strict=True)), name
        assert torch.equal(written.tensor(name), packing.unpack(S24_0, found[name].data))
    for name in ("blk.1.ffn_norm.weight", "output_norm.weight"):
        assert not torch.equal(written.tensor(name), tiny.tensor(name))
        assert written.type_name(name) == "f32"
    logits = forward.logits(written, architecture.of(written), data.text)[:, :-1]
    surprise = functional.cross_entropy(logits.flatten(0, 1), data.text[:, 1:].flatten())
    assert float(surprise.exp()) == pytest.approx(layers.judge(tiny, data, found)["text"].after, rel=1e-4)


@pytest.mark.parametrize("stop", [1, 17])
def test_a_stopped_training_goes_on_to_the_same_result(
    stop, tiny, data, steps, solved, tmp_path: Path, monkeypatch
) -> None:
    whole = distilled(tiny, data, solved, tmp_path / "whole", steps())
    monkeypatch.setattr(distill, "CHECKPOINT_SECONDS", 0.0)
    with pytest.raises(KeyboardInterrupt):
        distilled(tiny, data, solved, tmp_path / "work", steps(stop=stop))
    again = steps()
    resumed = distilled(tiny, data, solved, tmp_path / "work", again)
    assert [fresh for _, fresh in again.seen] == [False] * stop + [True] * (30 - stop)
    assert {name: entry.data.tobytes() for name, entry in resumed.items()} == {
        name: entry.data.tobytes() for name, entry in whole.items()
    }
    done = steps()
    assert distilled(tiny, data, solved, tmp_path / "work", done).keys() == whole.keys()
    assert not any(fresh for _, fresh in done.seen)


def test_a_damaged_checkpoint_is_not_trusted(tiny, data, steps, solved, tmp_path: Path) -> None:
    whole = distilled(tiny, data, solved, tmp_path / "work", steps())
    (stored,) = (tmp_path / "work").glob("*/training-*.pt")
    stored.write_bytes(stored.read_bytes()[:1000])
    again = steps()
    found = distilled(tiny, data, solved, tmp_path / "work", again)
    assert all(fresh for _, fresh in again.seen)
    assert found[NAMES[3]].data.tobytes() == whole[NAMES[3]].data.tobytes()


def test_other_training_does_not_take_up_a_checkpoint(tiny, data, steps, solved, tmp_path: Path) -> None:
    distilled(tiny, data, solved, tmp_path / "work", steps())
    again = steps()
    distilled(tiny, data, solved, tmp_path / "work", again, Training(3, 2))
    assert all(fresh for _, fresh in again.seen)


def test_an_adapter_gets_closer_and_leaves_the_weights(tiny, data, steps, solved, tmp_path: Path) -> None:
    with work.opened(tmp_path / "work", {}) as kept:
        pairs = recovery.adapted(tiny, solved.changed, lesson(data, steps()), kept, rank=4)
    assert pairs.keys() == set(NAMES)
    assert pairs["blk.0.attn_k.weight"].product.shape == (32, 64)
    for kind, quality in layers.judge(tiny, data, solved.changed, pairs).items():
        assert quality.kl < solved.quality[kind].kl


@pytest.mark.parametrize("recover", ["distill", "lora"])
def test_a_whole_job(recover, tiny, data, tmp_path: Path, isolated_home: Path, monkeypatch) -> None:
    """From file to file, judged in llama.cpp with what was written; only texts are not read."""
    data = Data(data.calibration, data.text[:2], data.code[:2])  # as many as llama.cpp is judged on
    monkeypatch.setattr(job.tokens, "read", lambda *_, **__: data)
    monkeypatch.setattr(job.tokens, "training", lambda *_, **__: data.calibration.repeat(2, 1))
    monkeypatch.setattr(job, "default_threads", lambda: 1)
    monkeypatch.setattr(job.place, "choose", lambda *_: PLACE)
    monkeypatch.setattr(judge, "SEQUENCE_TOKENS", 48)
    out, said = tmp_path / "small.gguf", []
    rank = 4 if recover == "lora" else None
    options = Options(method="magnitude", recover=recover, recover_tokens=64 * 96, rank=rank)
    result = job.run(tiny.path, out, options, narrate=said.append)

    found = json.loads(json.dumps(result.as_dict()))
    assert found["recovered"].keys() == {"text", "code"}
    assert {"1.000", "0.333"} <= found["rates"].keys()
    assert all(kl > 0 for kl in found["rates"].values())
    assert result.unrecovered is not None
    assert result.quality["text"].kl < result.unrecovered["text"].kl
    assert any("trains on 6144 tokens, of 1152" in line for line in said)
    meta = Source(out).header.metadata
    assert (meta["steerway.compress.recover"], meta["steerway.compress.recover_tokens"]) == (recover, 6144)
    assert (found["adapter"] is not None) == (recover == "lora") == (tmp_path / "small.lora.gguf").exists()
    if found["engine"]:
        for kind in ("text", "code"):
            simulated = result.quality[kind].after
            assert found["engine"][kind]["after"] == pytest.approx(simulated, rel=0.005)
    assert not list((isolated_home / "state/compress").glob("*/*"))


@pytest.mark.parametrize("grid", FORMATS.values(), ids=FORMATS.keys())
def test_what_was_packed_is_read_again(grid) -> None:
    torch.manual_seed(2)
    before = nearest(torch.randn(32, 128), grid)
    after = packing.solved(grid, packing.pack(before))
    assert torch.equal(after.weight, before.weight)
    assert torch.equal(after.kept, before.kept)


@pytest.mark.parametrize("grid", [S24_0, I3_0], ids=lambda grid: grid.name)
def test_gradients_go_through_the_rounding_to_the_scales(grid) -> None:
    torch.manual_seed(4)
    start = nearest(torch.randn(8, 64), grid)
    part = Scaled(start, torch.device("cpu"))
    weight = part.weight(torch.float32)
    assert torch.equal(weight, start.weight)
    slope = torch.randn(8, 64)
    weight.backward(slope)
    wanted = (slope * start.weight).sum(1, keepdim=True)
    assert torch.allclose(part.parameters["scales"].grad, wanted, atol=1e-5)
    part.parameters["scales"].data.fill_(0.5)
    found = part.solved()
    assert torch.equal(found.q, start.q)
    assert torch.equal(found.scale, (start.scale.float() * 1.5).half())
    assert torch.equal(part.weight(torch.float32), found.weight)


def test_the_loss_is_the_divergence_and_its_gradient() -> None:
    torch.manual_seed(6)
    student, teacher = torch.randn(300, 16, requires_grad=True), torch.randn(300, 16)
    ours, theirs = torch.randn(50, 16), torch.randn(50, 16)
    p, q = (functional.log_softmax(s @ w.T, 1) for s, w in ((teacher, theirs), (student, ours)))
    wanted = functional.kl_div(q, p, log_target=True, reduction="batchmean")
    (slope,) = torch.autograd.grad(wanted, student)
    found = divergence(student, teacher, (ours, theirs))
    assert float(found.detach()) == pytest.approx(float(wanted.detach()), rel=1e-5)
    (3 * found).backward()
    assert torch.allclose(student.grad, 3 * slope, atol=1e-6)


def test_the_learning_rate_rises_and_falls() -> None:
    training = Training(steps=200)
    paces = [training.pace(step) for step in range(200)]
    assert paces[0] == 0.1
    assert max(paces) == paces[10] == 1.0
    assert paces[10:] == sorted(paces[10:], reverse=True)
    assert paces[-1] == pytest.approx(0.05, abs=0.001)
