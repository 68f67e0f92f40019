"""A model compressed and written: what is stored is what was measured, and a stopped run goes on."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.compress import export, layers, work
from engine.compress.layers import Outcome, Recipe
from engine.compress.packing import unpack
from engine.compress.recover import Recovery
from engine.errors import EngineError, ModelUnsupported, UsageError
from engine.formats import I3_0, Q4_0, S24_0
from engine.models import digest, facts
from engine.reference import architecture, forward
from engine.reference.architecture import LINEARS
from engine.reference.source import Source
from engine.runtime.context import Context
from engine.runtime.llama import Model
from tests.native import tiny_models

NAMES = [f"blk.{layer}.{name}.weight" for layer in range(2) for name in LINEARS]


def recipe(grid=S24_0, *, method="sparsegpt", names=NAMES, recovery=None) -> Recipe:
    return Recipe(method, dict.fromkeys(names, grid), recovery)


def compressed(source: Source, data, steps, folder: Path, what: Recipe) -> Outcome:
    with work.opened(folder, what.identity) as kept:
        return layers.compress(source, data, what, kept, steps)


def test_the_written_file_is_the_model_that_was_measured(tiny, data, steps, tmp_path: Path) -> None:
    outcome = compressed(tiny, data, steps(), tmp_path / "work", recipe())
    out = tmp_path / "out.gguf"
    export.write(tiny, out, outcome.changed, {"method": "sparsegpt", "calibration_tokens": 576})

    found = Source(out)
    assert set(outcome.changed) == set(NAMES)
    for name in tiny.entries:
        if name in outcome.changed:
            entry = outcome.changed[name]
            assert found.type_name(name) == "s24_0"
            assert torch.equal(found.tensor(name), unpack(entry.grid, entry.data))
        else:
            assert found.raw(name).tobytes() == tiny.raw(name).tobytes()
    logits = forward.logits(found, architecture.of(found), data.text)[:, :-1]
    surprise = torch.nn.functional.cross_entropy(logits.flatten(0, 1), data.text[:, 1:].flatten())
    assert float(surprise.exp()) == pytest.approx(outcome.quality["text"].after, rel=1e-4)


@pytest.mark.parametrize("grid", [S24_0, I3_0], ids=lambda grid: grid.name)
def test_the_file_says_what_the_source_says_and_what_was_done(
    grid, tiny, data, steps, tmp_path: Path
) -> None:
    outcome = compressed(tiny, data, steps(), tmp_path / "work", recipe(grid))
    out = tmp_path / "out.gguf"
    export.write(tiny, out, outcome.changed, {"method": "sparsegpt", "calibration_tokens": 576})

    meta = Source(out).header.metadata
    assert tiny.header.metadata.items() <= meta.items()
    added = {key: meta[key] for key in meta.keys() - tiny.header.metadata.keys()}
    assert added == {
        "s24.version": 1,
        "steerway.source.sha256": digest.of(tiny.path),
        "steerway.compress.method": "sparsegpt",
        "steerway.compress.calibration_tokens": 576,
    }
    assert facts.inspect(out).types.keys() == {grid.name.upper(), "F32"}
    with pytest.raises(UsageError, match="was compressed already"):
        export.check_target(tmp_path / "again.gguf", Source(out))


@pytest.mark.parametrize("recovery", [None, Recovery(steps=3, sequences=2)], ids=["plain", "blocks"])
def test_a_stopped_run_goes_on_behind_its_last_layer(tiny, data, steps, tmp_path: Path, recovery) -> None:
    what = recipe(recovery=recovery)
    whole = compressed(tiny, data, steps(), tmp_path / "whole", what)
    with pytest.raises(KeyboardInterrupt):
        compressed(tiny, data, steps(stop=1), tmp_path / "work", what)
    again = steps()
    resumed = compressed(tiny, data, again, tmp_path / "work", what)
    assert again.seen == [("layer 0", False), ("layer 1", True)]
    for name, entry in whole.changed.items():
        assert resumed.changed[name].data.tobytes() == entry.data.tobytes()
    assert resumed.quality == whole.quality


def test_a_damaged_layer_on_disk_is_solved_again(tiny, data, steps, tmp_path: Path) -> None:
    what = recipe()
    whole = compressed(tiny, data, steps(), tmp_path / "work", what)
    (stored,) = (tmp_path / "work").glob("*/layer-1.npz")
    stored.write_bytes(stored.read_bytes()[:500])
    again = steps()
    found = compressed(tiny, data, again, tmp_path / "work", what)
    assert again.seen == [("layer 0", False), ("layer 1", True)]
    assert found.quality == whole.quality


def test_two_processes_do_not_do_the_same_work(tmp_path: Path) -> None:
    with (
        work.opened(tmp_path, {"same": 1}),
        pytest.raises(UsageError, match="another process"),
        work.opened(tmp_path, {"same": 1}),
    ):
        pass


def test_what_is_not_named_stays_as_it_was(tiny, data, steps, tmp_path: Path) -> None:
    """And nothing at all changed means nothing lost."""
    only = compressed(tiny, data, steps(), tmp_path / "a", recipe(Q4_0, names=NAMES[:1]))
    assert set(only.changed) == {NAMES[0]}
    none = compressed(tiny, data, steps(), tmp_path / "b", recipe(names=[]))
    assert none.quality["text"].ratio == 1.0
    assert none.quality["code"].kl == 0.0


def test_more_bits_lose_less(tiny, data, steps, tmp_path: Path) -> None:
    lost = [
        compressed(tiny, data, steps(), tmp_path / grid.name, recipe(grid)).quality["text"].kl
        for grid in (S24_0, I3_0, Q4_0)
    ]
    assert lost[0] > lost[1] > lost[2] > 0


def test_recovery_gets_closer_to_the_model(tiny, data, steps, tmp_path: Path) -> None:
    plain = compressed(tiny, data, steps(), tmp_path / "a", recipe())
    better = compressed(tiny, data, steps(), tmp_path / "b", recipe(recovery=Recovery(steps=60, sequences=4)))
    assert better.quality["code"].kl < plain.quality["code"].kl
    for name, entry in better.changed.items():
        assert np.count_nonzero(S24_0.decode(entry.data).reshape(-1, 4), axis=1).max() <= 2, name


def test_no_room_on_the_disk(tiny, data, steps, tmp_path: Path, monkeypatch) -> None:
    outcome = compressed(tiny, data, steps(), tmp_path / "work", recipe())
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(EngineError, match=r"out\.gguf"):
        export.write(tiny, tmp_path / "out.gguf", outcome.changed, {})
    assert not [path for path in tmp_path.iterdir() if "out" in path.name]


def test_targets_that_cannot_be_written_are_refused_before_any_work(tiny, tmp_path: Path) -> None:
    for out, why in (
        (tiny.path, "the model itself"),
        (tmp_path / "no/such/out.gguf", "no folder"),
        (tmp_path, "no file"),
    ):
        with pytest.raises(UsageError, match=why):
            export.check_target(out, tiny)


@pytest.mark.parametrize("name", ["chatglm", "stablelm"])
def test_other_architectures_are_refused_by_name(name: str, tmp_path: Path) -> None:
    with pytest.raises(ModelUnsupported, match=f"it is a {name} model"):
        architecture.of(Source(tiny_models.rotating(tmp_path / "other.gguf", name)))


@pytest.mark.parametrize("factors", [None, np.linspace(1, 3, 16, dtype=np.float32)], ids=["plain", "factors"])
def test_the_forward_pass_is_llama_cpps(factors, data, tmp_path: Path) -> None:
    """With float32 weights nothing is rounded but keys and values, to 16 bits."""
    path = tiny_models.rotating(tmp_path / "tiny.gguf", "llama", factors=factors)
    tokens = data.text[:1]
    source = Source(path)
    ours = forward.logits(source, architecture.of(source), tokens)[0].numpy()
    model = Model(path)
    context = Context(model, context_tokens=256, batch_tokens=48, threads=1, outputs=48)
    context.decode(tokens[0].tolist(), 0, outputs="all")
    theirs = context.logits_rows().copy()
    context.close()
    model.close()
    assert np.abs(ours - theirs).max() < 0.002 * np.abs(theirs).max()
