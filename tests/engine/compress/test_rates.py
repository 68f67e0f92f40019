"""Rates found by trials: the best on text that was not trained on, and parts go back to where they were."""

from __future__ import annotations

import errno
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from engine.compress import distill, rates, work
from engine.compress.distill import RATES, Training
from engine.compress.export import Changed
from engine.compress.network import Network, Place
from engine.compress.packing import pack, solved
from engine.compress.rates import FACTORS
from engine.compress.solver import nearest
from engine.compress.trained import LowRank, Scaled, Trained, Vector
from engine.errors import UsageError
from engine.formats import I3_0
from engine.reference.architecture import LINEARS, OUTPUT_NORM
from engine.reference.source import Source

PLACE = Place(torch.device("cpu"), torch.float32)
TRAINING = Training(80, 2)  # trials of 5 steps


@pytest.fixture
def tokens() -> torch.Tensor:
    return torch.randint(0, 32, (24, 48), generator=torch.Generator().manual_seed(3))


class Bench:
    """The tiny model with its linear layers in INT3."""

    def __init__(self, tiny: Source, tokens: torch.Tensor, folder: Path) -> None:
        names = [f"blk.{layer}.{name}.weight" for layer in range(2) for name in LINEARS]
        changed = {name: Changed(I3_0, pack(nearest(tiny.tensor(name), I3_0))) for name in names}
        self.student = Network(tiny, changed, PLACE, positions=48)
        self.teacher = Network(tiny, {}, PLACE, positions=48)
        self.parts: dict[str, Trained] = {
            name: Scaled(solved(entry.grid, entry.data), PLACE.device) for name, entry in changed.items()
        }
        self.parts[OUTPUT_NORM] = Vector(self.student.norm)
        self.tokens, self.folder = tokens, folder

    def chosen(self, progress, training=TRAINING) -> Training:
        with work.opened(self.folder, {}) as kept:
            return rates.chosen(
                self.student, self.teacher, self.parts, self.tokens, training, (kept, "rates"), progress
            )

    def tried(self) -> dict[str, float]:
        (noted,) = self.folder.glob("*/rates.json")
        return json.loads(noted.read_text())

    def parameters(self) -> list[torch.Tensor]:
        return [p.detach().clone() for part in self.parts.values() for p in part.parameters.values()]


@pytest.fixture
def bench(tiny, tokens, tmp_path: Path) -> Bench:
    return Bench(tiny, tokens, tmp_path / "work")


def faster(factor: float) -> Training:
    return replace(TRAINING, rates={role: rate * factor for role, rate in RATES.items()})


def said(steps) -> list[str]:
    return [what for what, _ in steps.seen if what.startswith("rates")]


@pytest.mark.parametrize("begin", [0.1, 1.0, 10.0, 300.0])
def test_the_best_on_text_held_back_is_taken(begin, bench, steps) -> None:
    before = bench.parameters()
    told = steps()
    found = bench.chosen(told, faster(begin))
    tried = bench.tried()
    best = next(iter(tried))
    for factor, kl in tried.items():  # from quick to slow
        best = factor if kl < 0.98 * tried[best] else best
    assert found.rates["scales"] == pytest.approx(begin * RATES["scales"] * float(best), rel=0.005)
    assert f"rates x {float(best):.2f}: KL {tried[best]:.3f}" in said(told)
    assert replace(found, rates=TRAINING.rates) == TRAINING
    assert all(torch.equal(a, b) for a, b in zip(bench.parameters(), before, strict=True))


def test_between_equals_the_quicker_is_taken(bench, steps, monkeypatch) -> None:
    found = iter([0.500, 0.495])
    monkeypatch.setattr(distill, "apart", lambda *_, **__: next(found))
    assert bench.chosen(steps()) == TRAINING


def test_rates_that_diverge_are_left(bench, steps, monkeypatch) -> None:
    """A KL that is no number is neither smaller nor larger than another."""
    before = bench.parameters()
    apart, factors = distill.apart, iter(FACTORS)

    def broken(student, teacher, parts, tokens) -> float:
        if next(factors) == 1.0:
            with torch.no_grad():
                for part in parts.values():
                    for parameter in part.parameters.values():
                        parameter.fill_(torch.nan)
        return apart(student, teacher, parts, tokens)

    monkeypatch.setattr(distill, "apart", broken)
    assert bench.chosen(steps()).rates["scales"] < RATES["scales"]
    assert all(torch.equal(a, b) for a, b in zip(bench.parameters(), before, strict=True))
    assert all(math.isfinite(kl) for kl in bench.tried().values())


def test_a_trial_that_cannot_be_noted_is_one_clear_line(bench, steps, monkeypatch) -> None:
    def full(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(UsageError, match="cannot be written") as caught:
        bench.chosen(steps())
    assert caught.value.hint == "No space left on device"


def test_rates_that_do_harm_are_left(bench, steps) -> None:
    found = bench.chosen(steps(), faster(300))
    assert found.rates["scales"] == pytest.approx(300 / 9 * RATES["scales"])
    assert bench.tried()["0.111"] < 0.5 * bench.tried()["1.000"]


def test_a_trial_does_not_see_what_judges_it(bench, steps, monkeypatch) -> None:
    seen, judged = [], []
    train, apart = distill.train, distill.apart

    def training(student, teacher, parts, tokens, *rest) -> None:
        seen.extend(map(tuple, tokens.tolist()))
        train(student, teacher, parts, tokens, *rest)

    def judging(student, teacher, parts, tokens) -> float:
        judged.extend(map(tuple, tokens.tolist()))
        return apart(student, teacher, parts, tokens)

    monkeypatch.setattr(distill, "train", training)
    monkeypatch.setattr(distill, "apart", judging)
    bench.chosen(steps())
    assert len(set(judged)) == 8
    assert len(set(seen)) == 16
    assert not set(seen) & set(judged)


def test_what_was_tried_is_not_tried_again(bench, steps, tiny, tokens) -> None:
    with pytest.raises(KeyboardInterrupt):
        bench.chosen(steps(stop=8), faster(300))  # 5 steps, what they came to, 2 steps of the next
    again, whole = steps(), steps()
    found = Bench(tiny, tokens, bench.folder).chosen(again, faster(300))
    assert [fresh for _, fresh in again.seen] == [False] + [True] * 12
    fresh = Bench(tiny, tokens, bench.folder.parent / "other").chosen(whole, faster(300))
    assert (found, said(again)) == (fresh, said(whole))


def test_too_little_to_try_on(bench, steps) -> None:
    told = steps()
    assert bench.chosen(told, replace(TRAINING, steps=31)) == replace(TRAINING, steps=31)
    bench.tokens = bench.tokens[:15]
    assert bench.chosen(told) == TRAINING
    assert told.seen == []


def test_parts_go_back_to_where_they_began() -> None:
    torch.manual_seed(1)
    parts: list[Trained] = [
        Scaled(nearest(torch.randn(8, 64), I3_0), PLACE.device),
        Vector(torch.randn(8)),
        LowRank(torch.randn(8, 64), 4, seed=2),
    ]
    for part in parts:
        before = {role: found.detach().clone() for role, found in part.parameters.items()}
        weight = part.weight(torch.float32).detach().clone()
        with torch.no_grad():
            for found in part.parameters.values():
                found.add_(1.0)
        assert not torch.equal(part.weight(torch.float32), weight)
        part.reset()
        assert torch.equal(part.weight(torch.float32), weight)
        assert all(torch.equal(part.parameters[role].detach(), value) for role, value in before.items())
