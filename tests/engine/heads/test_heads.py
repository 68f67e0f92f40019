"""Heads seen and replaced: exact when nothing changes, and as computed by hand when something does."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from engine.heads import chosen, patterns, saving, screen
from engine.heads.bench import Bench, Read, Replace, Reweigh, targets
from engine.heads.patterns import Boost, Follow, Part
from engine.heads.trunk import Trunk
from engine.heads.windows import Window
from engine.reference import forward
from engine.reference.source import Source


def logits(trunk: Trunk, read: Read, changes: dict[int, list[Any]]) -> Tensor:
    return trunk.logits(trunk.run(read.states[0], changes))


def test_nothing_replaced_is_the_forward_pass_to_the_bit(trunk: Trunk, read: Read, tiny: Any) -> None:
    source = Source(tiny)
    expected = forward.logits(source, trunk.architecture, torch.tensor([read.window.tokens]))
    assert torch.equal(logits(trunk, read, {}), expected)
    assert torch.equal(logits(trunk, read, {1: [lambda view, heads: heads]}), expected)


def test_a_head_that_follows_its_own_attention_is_itself(trunk: Trunk, read: Read) -> None:
    own = trunk.view(1, read.states[1])[0].attention(0)
    assert torch.allclose(own.sum(1), torch.ones(len(own)))
    assert torch.equal(own.triu(1), torch.zeros_like(own))
    changed = logits(trunk, read, {1: [Follow(0, own, torch.zeros(32))]})
    assert torch.allclose(changed, logits(trunk, read, {}), atol=1e-4)
    assert torch.allclose(own, trunk.view(1, read.states[1])[0].attentions()[0], atol=1e-6)


def test_another_pattern_changes_what_is_behind_it_and_nothing_before(trunk: Trunk, read: Read) -> None:
    pattern = trunk.view(1, read.states[1])[0].attention(0).clone()
    pattern[40:] = 0
    pattern[40:, 3] = 1
    changed, before = logits(trunk, read, {1: [Follow(0, pattern, torch.zeros(32))]}), logits(trunk, read, {})
    assert torch.allclose(changed[:, :40], before[:, :40], atol=1e-4)
    assert (changed[:, 40:] - before[:, 40:]).abs().max() > 1e-3


def test_reweighing_by_one_is_nothing_and_by_much_is_looking_there(trunk: Trunk, read: Read) -> None:
    there = patterns.chosen(read.window, "name", "exact")
    view, heads = trunk.view(0, read.states[0])
    assert torch.allclose(Boost(1, there, 1.0)(view, heads), heads, atol=1e-5)
    edge = read.window.lookups[-1]
    looking = Boost(1, there, 1e8)(view, heads)[edge.at, 1]
    assert torch.allclose(looking, view.values[1, edge.name[-1]], atol=1e-3)


def test_gradients_reach_a_replaced_heads_values(trunk: Trunk, read: Read) -> None:
    weight = trunk.blocks[0].weights["attn_v"].requires_grad_()
    change = Follow(0, patterns.attention(read.window, (Part("name", 1.0),)), torch.zeros(32))
    changes = {0: [change, Follow(1, change.attention, torch.zeros(32))]}
    logits(trunk, read, changes).square().mean().backward()
    assert weight.grad is not None
    assert weight.grad.abs().max() > 0


def test_a_fitted_constant_makes_up_for_the_mean(trunk: Trunk, read: Read) -> None:
    edit = Replace(1, 1, (Part("previous", 0.5),))
    constant = Bench(trunk, [read]).constant(edit)
    view, heads = trunk.view(1, read.states[1])
    pattern = patterns.attention(read.window, edit.parts)
    change = Follow(1, pattern, constant)
    left = (heads - change(view, heads))[1:, 1]
    assert left.mean(0).abs().max() < 1e-6
    assert left.abs().max() > 1e-3
    worse = constant + 0.01
    assert left.square().sum() < (heads - Follow(1, pattern, worse)(view, heads))[1:, 1].square().sum()
    assert torch.equal(change(view, heads)[0], heads[0])


def test_a_head_replaced_at_names_only_is_itself_elsewhere(trunk: Trunk, read: Read) -> None:
    there = [edge.at for edge in read.window.lookups]
    edit = Replace(1, 0, (Part("name", 0.5),), only=True)
    view, heads = trunk.view(1, read.states[1])
    constant = Bench(trunk, [read]).constant(edit)
    change = Follow(0, patterns.attention(read.window, edit.parts), constant, patterns.looked_up(read.window))
    apart = (change(view, heads) - heads)[:, 0]
    assert sorted(set(there)) == apart.abs().sum(1).nonzero()[:, 0].tolist()
    assert apart[there].mean(0).abs().max() < 1e-6  # fitted where it is used


def test_scores_are_log_probabilities_of_the_next_token(trunk: Trunk, read: Read) -> None:
    bench = Bench(trunk, [read])
    found = bench.score(read, [])
    at = torch.tensor(read.targets.at)
    logs = logits(trunk, read, {})[0, at - 1].log_softmax(-1)
    wanted = torch.tensor(read.window.tokens)[at]
    assert torch.allclose(found.nll, -logs[torch.arange(len(at)), wanted], atol=1e-4)
    assert torch.equal(found.right, logs.argmax(1) == wanted)
    changed = bench.score(read, [Reweigh(0, 0, "name", "scope", 4.0), Replace(1, 0, (), "mean")])
    assert not torch.allclose(changed.nll, found.nll, atol=1e-4)


def test_scored_tokens_have_classes_and_weights(window: Window) -> None:
    found = targets(window)
    firsts = {first for first, _ in window.uses}
    assert {at for at, kind in zip(found.at, found.kind, strict=True) if kind == 0} == firsts - {0}
    assert sum(found.weight) == pytest.approx(len(window.tokens) - 1, abs=2)


# Patterns


def test_patterns_are_distributions_and_point_where_they_say(window: Window) -> None:
    edge = window.lookups[-1]
    for given in ("exact", "last", "shuffled", "random"):
        found = patterns.attention(window, (Part("name", 0.4), Part("previous", 0.3)), given)
        assert torch.allclose(found.sum(1), torch.ones(len(found)))
        assert torch.equal(found.triu(1), torch.zeros_like(found))
        assert found[edge.at, edge.at - 1] >= 0.3
    exact = patterns.attention(window, (Part("name", 0.4),))
    assert exact[edge.at, edge.name[-1]] == pytest.approx(0.4)
    assert exact[edge.at, 0] == pytest.approx(0.6)
    assert (patterns.attention(window, ())[:, 0] == 1).all()


def test_shuffled_definitions_are_those_of_other_names(window: Window) -> None:
    given = patterns.pointed(window, "name", "shuffled")
    assert any(given)
    for edge, tokens in zip(window.lookups, given, strict=True):
        assert not set(tokens) & set(edge.name)
        assert all(token < edge.at for token in tokens)


# What is found


class Planted:
    """A trunk whose heads have the attention they were given; the screen asks it for nothing else."""

    def __init__(self, maps: list[Tensor]) -> None:
        self.blocks = maps

    def view(self, layer: int, hidden: Tensor) -> tuple[Any, Tensor]:
        return SimpleNamespace(attentions=lambda: self.blocks[layer]), hidden


def test_planted_heads_are_found_for_what_they_do(window: Window) -> None:
    sink = patterns.attention(window, ())
    spread = torch.tril(torch.ones_like(sink))
    spread /= spread.sum(1, keepdim=True)
    first = torch.stack([spread, patterns.attention(window, (Part("previous", 0.8),))])
    second = torch.stack([patterns.attention(window, (Part("value", 0.6),)), sink])
    planted: Any = Planted([first, second])
    found = screen.merged([screen.window(planted, [sink, sink], window)])
    heads = {(one.layer, one.head): one for one in chosen.heads(found, 8)}
    assert heads[1, 1].kind == "dormant"
    assert heads[0, 1].kind == "previous"
    assert heads[0, 1].parts == (Part("previous", pytest.approx(0.8, abs=0.01)),)
    assert heads[1, 0].kind == "definition"
    assert heads[1, 0].parts == (Part("value", pytest.approx(0.6, abs=0.01)),)
    assert float(found["distant"][1, 0]) < 0.1
    assert found["sink"][1, 0] > chosen.SINK  # looking things up now and then is not being dormant
    assert chosen.groups(found, 1, 1) == [(1, 0)]


def test_screens_of_windows_are_averaged_by_what_they_hold() -> None:
    def part(count: int, value: float) -> dict[str, tuple[int, list[list[float]]]]:
        return {metric: (count, [[value]]) for metric in screen.METRICS}

    found = screen.merged([part(1, 0.0), part(3, 0.8)])
    assert float(found["name"][0, 0]) == pytest.approx(0.6)
    assert torch.isnan(screen.merged([part(0, 0.0)])["stale"]).all()


# What it saves


def test_keys_are_saved_only_by_whole_groups(trunk: Trunk) -> None:
    model = trunk.architecture
    one, both = saving.of(model, 10_000, {(0, 0)}, 100), saving.of(model, 10_000, {(0, 0), (0, 1)}, 100)
    assert (one.key_bytes, one.groups) == (0, 0)
    assert (both.key_bytes, both.groups) == (100 * 32 * 2, 1)
    # A query of 64 by 32 weights, a score and a weighted sum over 100 positions of 32 values.
    assert one.flops == 2 * 64 * 32 + 4 * 32 * 100
    assert both.flops > 2 * one.flops
    assert 0 < one.flops_share < 1
