"""A model adapted to injected heads: the trained pass is the judged one, and training takes a loss back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from engine.compress import adapter, distill
from engine.compress.adapter import Pair
from engine.compress.distill import Checkpoint
from engine.compress.divergence import divergence
from engine.compress.network import Network, Place
from engine.heads import adapt, injected
from engine.heads.adapt import Added, Lesson, School
from engine.heads.bench import Bench, Read, Replace
from engine.heads.judging import Judge, State
from engine.heads.patterns import Part
from engine.heads.trunk import Trunk
from engine.heads.windows import Window
from engine.reference.architecture import LINEARS
from engine.reference.source import Source
from tests.engine.heads.conftest import Steps

PLACE = Place(torch.device("cpu"), torch.float32)
EDITS = (
    Replace(0, 1, (Part("name", 0.5), Part("previous", 0.3))),
    Replace(1, 0, ()),
    Replace(1, 1, (Part("value", 0.9),), "last"),
)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Products this small only wait for a second thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def constants(trunk: Trunk, read: Read) -> dict[Replace, Tensor]:
    """Fitted ones, ten times as large: random models' heads are all alike, and these shall be missed."""
    bench = Bench(trunk, [read])
    return {edit: 10 * bench.constant(edit) + 0.2 for edit in EDITS}


@pytest.fixture
def lesson(read: Read, constants: dict[Replace, Tensor]) -> Lesson:
    return Lesson([read.window], EDITS, constants)


def states(network: Network, window: Window, constants: dict[Replace, Tensor]) -> Tensor:
    attention = injected.attentions(window, EDITS, constants, PLACE.device)
    return network.states(torch.tensor([window.tokens]), attention)


class Kept:
    """A checkpoint in memory, as a file would hold it."""

    def __init__(self) -> None:
        self.state: dict[str, Any] | None = None

    @property
    def checkpoint(self) -> Checkpoint:
        return Checkpoint(lambda: self.state, self._save)

    def _save(self, state: dict[str, Any]) -> None:
        copied = {
            role: [one.detach().clone() for one in found] for role, found in state["parameters"].items()
        }
        self.state = {**state, "parameters": copied, "losses": list(state["losses"])}


def trained(
    tiny: Path, lesson: Lesson, *, steps: int = 24, kept: Kept | None = None, progress: Steps | None = None
) -> tuple[dict[str, Pair], list[float]]:
    school = School(Source(tiny), PLACE, positions=512)
    training = adapt.plan(lesson.windows, steps * len(lesson.windows[0].tokens), seed=1)
    assert training.steps == steps
    checkpoint = (kept or Kept()).checkpoint
    return school.adapter(
        lesson, rank=4, training=training, checkpoint=checkpoint, progress=progress or Steps()
    )


def test_the_trained_pass_is_the_judged_one(
    trunk: Trunk, tiny: Path, read: Read, constants: dict[Replace, Tensor]
) -> None:
    network = Network(Source(tiny), {}, PLACE, positions=512)
    ours = states(network, read.window, constants) @ network.head.T
    changes = injected.changes(read.window, EDITS, constants)
    with torch.no_grad():
        theirs = trunk.logits(trunk.run(read.states[0], changes))[0]
        plain = trunk.logits(read.states[-1])[0]
    assert torch.allclose(ours, theirs, atol=1e-4)
    assert (ours - plain).abs().max() > 100 * (ours - theirs).abs().max()
    assert torch.allclose(ours[0], plain[0], atol=1e-4)  # position 0 is left alone


def test_gradients_reach_every_addition_through_injected_heads(
    tiny: Path, read: Read, constants: dict[Replace, Tensor]
) -> None:
    lesson = Lesson([read.window], EDITS, constants)
    school = School(Source(tiny), PLACE, positions=512)
    parts = school._parts(4)
    school._loss(lesson, read.window).backward()
    for name, part in parts.items():
        # The queries and keys of layer 1 belong to heads whose attention is given.
        idle = name in ("blk.1.attn_q.weight", "blk.1.attn_k.weight")
        assert (part.parameters["b"].grad.abs().max() > 0) != idle, name


def test_training_takes_back_what_injection_cost(
    trunk: Trunk, tiny: Path, read: Read, lesson: Lesson
) -> None:
    pairs, losses = trained(tiny, lesson, steps=60)
    assert len(losses) == 60
    assert losses[-1] < 0.7 * losses[0]
    assert pairs.keys() == {f"blk.{layer}.{name}.weight" for layer in range(2) for name in LINEARS}
    judge = Judge(trunk)
    injected_, adapted, unchanged = (
        judge.judge(read.window, state)
        for state in (
            State(EDITS, lesson.constants),
            State(EDITS, lesson.constants, pairs),
            State(),
        )
    )
    assert float(adapted.kl.mean()) < 0.75 * float(injected_.kl.mean())
    assert float(unchanged.kl.abs().max()) < 1e-6
    assert torch.allclose(unchanged.nll, Bench(trunk, [read]).score(read, []).nll, atol=1e-4)


def test_the_addition_beside_a_layer_is_the_one_that_is_merged(
    trunk: Trunk, tiny: Path, read: Read, lesson: Lesson
) -> None:
    """Trained beside the weights, judged merged into them, stored in half precision."""
    school = School(Source(tiny), PLACE, positions=512)
    training = adapt.plan(lesson.windows, 6 * len(read.window.tokens), seed=1)
    pairs, _ = school.adapter(
        lesson, rank=4, training=training, checkpoint=Kept().checkpoint, progress=Steps()
    )
    assert all(isinstance(block, Added) for block in school._student.blocks)
    teacher = Network(Source(tiny), {}, PLACE, positions=512)
    with torch.no_grad():
        ours = states(school._student, read.window, dict(lesson.constants))
        at = torch.tensor(read.targets.at) - 1
        wanted = teacher.states(torch.tensor([read.window.tokens]))
        expected = divergence(ours[at], wanted[at], (teacher.head, teacher.head))
    found = Judge(trunk).judge(read.window, State(EDITS, lesson.constants, pairs)).kl.mean()
    assert float(found) == pytest.approx(float(expected), rel=0.01)


def test_what_was_written_is_read_again(tiny: Path, lesson: Lesson, tmp_path: Path) -> None:
    pairs, _ = trained(tiny, lesson, steps=2)
    file = tmp_path / "exact.lora.gguf"
    adapter.write(file, "llama", pairs, {"steerway.adapt.edges": "exact"})
    again = adapt.read(file)
    assert again.keys() == pairs.keys()
    for name, pair in pairs.items():
        assert torch.equal(pair.a, again[name].a)
        assert torch.equal(pair.b, again[name].b)


def test_a_stopped_training_goes_on_to_the_same_adapter(
    tiny: Path, lesson: Lesson, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, losses = trained(tiny, lesson, steps=8)
    monkeypatch.setattr(distill, "CHECKPOINT_SECONDS", 0.0)
    kept, again = Kept(), Steps()
    with pytest.raises(KeyboardInterrupt):
        trained(tiny, lesson, steps=8, kept=kept, progress=Steps(stop=5))
    resumed, all_losses = trained(tiny, lesson, steps=8, kept=kept, progress=again)
    assert again.fresh == 3
    assert all_losses == losses
    for name, pair in whole.items():
        assert torch.equal(pair.product, resumed[name].product)


def test_an_adapter_is_taken_off_again(trunk: Trunk, read: Read, tiny: Path, lesson: Lesson) -> None:
    pairs, _ = trained(tiny, lesson, steps=4)
    before = {name: tensor.clone() for name, tensor in trunk.blocks[1].tensors().items()}
    judge = Judge(trunk)
    alone = judge.judge(read.window, State(pairs=pairs))
    assert float(alone.kl.mean()) > 0
    assert float(judge.judge(read.window, State()).kl.abs().max()) < 1e-6
    assert all(torch.equal(tensor, before[name]) for name, tensor in trunk.blocks[1].tensors().items())


def test_means_are_those_of_the_model_as_it_is_changed(trunk: Trunk, read: Read, lesson: Lesson) -> None:
    judge = Judge(trunk)
    found = judge.means([read.window], [0, 1], State(EDITS, lesson.constants))
    _, heads = trunk.view(0, read.states[0])
    assert torch.allclose(found[0][0], heads[1:, 0].mean(0), atol=1e-5)  # not injected, below all others
    sink = trunk.view(1, read.states[1])[0].values[0, 0] + lesson.constants[EDITS[1]]
    assert found[1][0].shape == sink.shape
    without = judge.judge(read.window, State(without=judge.means([read.window], [1], State())))
    bench = Bench(trunk, [read])
    expected = bench.score(read, [Replace(1, head, (), "mean") for head in range(2)])
    assert torch.allclose(without.nll, expected.nll, atol=1e-4)


# For the engine


def test_heads_for_the_engine_have_one_kind_of_edge(read: Read, constants: dict[Replace, Tensor]) -> None:
    assert injected.given(EDITS, constants) is None  # one of them looks at values
    heads = injected.given(EDITS[:2], constants)
    assert heads is not None
    assert [(head.layer, head.head, head.weight, head.previous) for head in heads] == [
        (0, 1, 0.5, 0.3),
        (1, 0, 0.0, 0.0),
    ]
    assert np.allclose(heads[1].constant, constants[EDITS[1]])
    edges = dict(injected.edges(read.window, EDITS[:2]))
    assert edges == {edge.at: edge.name[-1:] for edge in read.window.lookups}
    assert injected.edges(read.window, EDITS[1:2]) == []


@pytest.mark.parametrize("edit", [Replace(0, 0, (), "mean"), Replace(0, 0, (Part("name", 0.5),), only=True)])
def test_what_is_no_pattern_everywhere_is_refused(read: Read, edit: Replace) -> None:
    with pytest.raises(ValueError, match=r"head 0\.0"):
        injected.changes(read.window, [edit], {edit: torch.zeros(32)})


def test_the_teacher_is_asked_again_when_there_is_no_room(
    tiny: Path, lesson: Lesson, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    plain = Network.states

    def states_(self: Network, tokens: Tensor, attention: Any = None) -> Tensor:
        asked.append(attention is None)
        return plain(self, tokens, attention)

    monkeypatch.setattr(Network, "states", states_)
    expected = trained(tiny, lesson, steps=4)[1]
    assert sum(asked) == 1
    asked.clear()
    monkeypatch.setattr(adapt, "_KEPT_BYTES", 0)
    assert trained(tiny, lesson, steps=4)[1] == expected
    assert sum(asked) == 4
