"""Which group of tensors takes which type: the least time a token within a budget of divergence.

Each group is changed alone first; divergences of small changes add up well enough to choose by (they are
measured together before anything is kept). The choice is greedy by time gained for divergence, as for a
knapsack with several sizes of each thing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from engine.optimise.groups import Group

LEAST_GAIN = 0.03  # of a group's time: below it a type is not worth its divergence
_TRIES = 6
_TIGHTER = 0.75


@dataclass(frozen=True)
class Option:
    """A group in another type: what a token gains, and what it cost alone."""

    group: str
    kind: int
    gained_ns: float
    kl: float

    @property
    def worth(self) -> float:
        """Nanoseconds for a nat."""
        return self.gained_ns / max(self.kl, 1e-6)


Mix = Mapping[str, int]  # group: type


def choose(options: Sequence[Option], budget: float) -> dict[str, int]:
    """The mix of most gain whose divergences add up to at most `budget` nats, by the greedy rule."""
    taken: dict[str, Option] = {}
    left = budget
    while step := _best_step(options, taken, left):
        left -= step.kl - (taken[step.group].kl if step.group in taken else 0.0)
        taken[step.group] = step
    return {group: option.kind for group, option in taken.items()}


def _best_step(options: Sequence[Option], taken: Mapping[str, Option], left: float) -> Option | None:
    """The change that gains most for what it costs, beside what the group has."""

    def score(option: Option) -> float:
        before = taken.get(option.group)
        gained = option.gained_ns - (before.gained_ns if before else 0.0)
        cost = option.kl - (before.kl if before else 0.0)
        if gained <= 0 or cost > left:
            return 0.0
        return gained / max(cost, 1e-6)

    best = max(options, key=score, default=None)
    return best if best is not None and score(best) > 0 else None


def narrower(options: Sequence[Option], budget: float) -> Iterator[dict[str, int]]:
    """Mixes of ever smaller budgets, each one different from the last, the empty one not among them."""
    last: dict[str, int] = {}
    for _ in range(_TRIES):
        mix = choose(options, budget)
        if mix and mix != last:
            yield mix
        last = mix
        budget *= _TIGHTER


def worthwhile(
    groups: Sequence[Group], kinds: Sequence[int], cost_ns: Callable[[Group, int | None], float]
) -> list[tuple[Group, int, float]]:
    """(group, type, nanoseconds gained a token) of the changes that are faster here.

    `cost_ns` is what a token needs for a group in a type, None for the shipped one.
    """
    found = []
    for group in groups:
        shipped = cost_ns(group, None)
        for kind in kinds:
            if group.takes(kind) and (gained := shipped - cost_ns(group, kind)) > LEAST_GAIN * shipped:
                found.append((group, kind, gained))
    return found
