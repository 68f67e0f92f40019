"""Which parts of a model take which type: groups, and the choice within a budget."""

from __future__ import annotations

from itertools import product
from random import Random

import pytest

from engine.models.header import Header, Tensor
from engine.optimise import search
from engine.optimise.groups import HEAD, groups
from engine.optimise.search import Option, choose, narrower


def header_of(*names: str, columns: int = 64) -> Header:
    tensors = tuple(Tensor(name, (columns, 128), 6, 0) for name in names)
    return Header(3, {}, {}, {}, tensors, 0, 0, 0, (0, 0))


def model(layers: int, *more: str) -> Header:
    parts = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down", "attn_norm")
    return header_of(*(f"blk.{n}.{part}.weight" for n in range(layers) for part in parts), *more)


def test_groups_cover_each_matrix_once() -> None:
    found = groups(model(7, "token_embd.weight", "output.weight", "output_norm.weight"))
    names = [tensor.name for group in found for tensor in group.tensors]
    assert len(names) == len(set(names)) == 7 * 7 + 1
    assert found[0].name == HEAD
    assert found[0].tensors[0].name == "output.weight"
    assert {group.role for group in found[1:]} == {"attention in", "attention out", "gate and up", "down"}
    assert [group.name for group in found if group.role == "down"] == [
        "down, first third", "down, middle third", "down, last third",
    ]  # fmt: skip


def test_a_tied_embedding_is_the_head() -> None:
    assert groups(model(1, "token_embd.weight"))[0].tensors[0].name == "token_embd.weight"


def test_types_need_whole_blocks() -> None:
    group = groups(header_of("blk.0.ffn_up.weight", columns=96))[0]
    assert group.takes(2)
    assert not group.takes(241)


def test_the_budget_is_kept_and_nothing_better_is_left() -> None:
    options = [Option("a", 2, 10.0, 0.01), Option("a", 241, 30.0, 0.05), Option("b", 2, 5.0, 0.03)]
    assert choose(options, 0.04) == {"a": 2, "b": 2}
    assert choose(options, 0.005) == {}
    assert choose(options, 1.0) == {"a": 241, "b": 2}


@pytest.mark.parametrize("seed", range(30))
def test_it_is_close_to_the_best_choice(seed: int) -> None:
    rng = Random(seed)
    options = [
        Option(name, kind, rng.uniform(1, 9) * kind, rng.uniform(0.001, 0.02) * kind**2)
        for name in "abcd"
        for kind in (1, 2)
    ]
    taken = choose(options, 0.05)
    by_key = {(option.group, option.kind): option for option in options}

    def total(mix: dict[str, int]) -> tuple[float, float]:
        chosen = [by_key[item] for item in mix.items()]
        return sum(option.gained_ns for option in chosen), sum(option.kl for option in chosen)

    every = (
        {name: kind for name, kind in zip("abcd", kinds, strict=True) if kind}
        for kinds in product((0, 1, 2), repeat=4)
    )
    best = max(total(mix)[0] for mix in every if total(mix)[1] <= 0.05)
    assert total(taken)[1] <= 0.05 + 1e-12
    assert total(taken)[0] >= 0.6 * best


def test_narrower_budgets_give_other_mixes_and_never_the_empty_one() -> None:
    options = [Option(name, 2, 5.0, kl) for name, kl in (("a", 0.01), ("b", 0.02), ("c", 0.03))]
    mixes = list(narrower(options, 0.0601))
    assert mixes[0] == {"a": 2, "b": 2, "c": 2}
    assert all(mixes)
    assert len({tuple(mix) for mix in mixes}) == len(mixes)


def test_only_what_is_faster_is_a_change() -> None:
    found = groups(model(3))
    cost = {None: 100.0, 2: 99.0, 6: 80.0}
    changes = search.worthwhile(found, [2, 6], lambda group, kind: cost[kind])
    assert {kind for _, kind, _ in changes} == {6}
    assert {gained for _, _, gained in changes} == {20.0}
