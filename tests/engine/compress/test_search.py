"""The search for a type for each group of layers: the budget holds, and cheap losses go first."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from engine.compress import export, search
from engine.compress.search import SHIPPED, Group, cheapest, mutated
from engine.errors import UsageError
from engine.formats import S24_0
from engine.reference.architecture import LINEARS

OPTIONS = [
    Group(f"blk.{i}.ffn_down", (f"blk.{i}.ffn_down.weight",), {SHIPPED: 800, "q4_0": 450, "s24_0": 325})
    for i in range(6)
]
LOSSES = {group.name: {SHIPPED: 0.0, "q4_0": 0.01 * (i + 1), "s24_0": 0.2} for i, group in enumerate(OPTIONS)}


def size(choice: dict[str, str]) -> int:
    return sum(group.sizes[choice[group.name]] for group in OPTIONS)


def test_what_loses_least_for_its_bytes_becomes_smaller_first() -> None:
    choice = cheapest(OPTIONS, LOSSES, 6 * 800 - 2 * 350)
    assert [choice[group.name] for group in OPTIONS] == ["q4_0", "q4_0", *[SHIPPED] * 4]


@pytest.mark.parametrize("room", range(6 * 325, 6 * 800 + 1, 95))
def test_the_budget_holds(room: int) -> None:
    assert size(cheapest(OPTIONS, LOSSES, room)) <= room


def test_a_budget_below_the_smallest_is_refused_with_the_smallest() -> None:
    with pytest.raises(UsageError, match="1950 bytes"):
        cheapest(OPTIONS, LOSSES, 1949)


def test_mutations_keep_the_budget_and_change_something() -> None:
    chance = random.Random(4)
    room = 3300
    choice = cheapest(OPTIONS, LOSSES, room)
    seen = set()
    for _ in range(300):
        other = mutated(OPTIONS, choice, room, chance)
        if other is not None:
            assert size(other) <= room
            assert other != choice
            seen.add(tuple(other.values()))
    assert len(seen) > 10


def test_a_model_is_searched(tiny, data, steps, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(search, "MUTATIONS", 8)
    names = [f"blk.{layer}.{name}.weight" for layer in range(2) for name in LINEARS]
    whole = export.data_bytes(tiny, {})
    chosen = dict.fromkeys(names, S24_0)
    seen = steps()
    grids = search.run(tiny, data, chosen, whole // 5, tmp_path, "0" * 64, seen)
    assert export.data_bytes(tiny, grids) <= whole // 5
    assert len({grid.name for grid in grids.values()}) > 1
    again = steps()
    assert search.run(tiny, data, chosen, whole // 5, tmp_path, "0" * 64, again) == grids
    assert sum(fresh for _, fresh in again.seen) == 8  # mutations only: the rest was kept


def test_a_budget_of_everything_changes_nothing(tiny, data, steps, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(search, "MUTATIONS", 2)
    names = {f"blk.0.{name}.weight": S24_0 for name in LINEARS}
    whole = export.data_bytes(tiny, {})
    assert search.run(tiny, data, names, whole, tmp_path, "0" * 64, steps()) == {}
