"""Which heads are worth replacing, by what they look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from engine.heads.patterns import DEFINITION, Oracle, Part

Kind = Literal["definition", "previous", "dormant"]
SINK, AWAKE = 0.9, 0.1
_PREVIOUS = 0.4
# Of all heads that are chosen, previous-token heads and dormant ones are at most a quarter each.
_SHARE = 4


@dataclass(frozen=True)
class Chosen:
    """A head, its kind, and what of its attention an exact pattern stands for."""

    layer: int
    head: int
    kind: Kind
    parts: tuple[Part, ...]

    @property
    def name(self) -> str:
        """As written in tables, layer and head from 0."""
        return f"{self.layer}.{self.head}"


def heads(found: Mapping[str, Tensor], count: int) -> list[Chosen]:
    """At most `count`: dormant ones, previous-token heads, then those that look at definitions most.

    Definition heads are ordered by attention on the best of three oracles over that on another identifier
    as far away; `found` are screen.merged's [layers, heads].
    """
    layers, width = found["sink"].shape
    places = [(layer, head) for layer in range(layers) for head in range(width)]

    def by(score: Tensor, least: float, most: int) -> list[tuple[int, int]]:
        order = sorted(places, key=lambda place: -float(score[place]))
        return [place for place in order if float(score[place]) >= least][:most]

    most = found["name"].maximum(found["after"]).maximum(found["value"])
    # A head that waits at the sink until there is a use to look up is anything but dormant.
    dormant = by(found["sink"].where(most < AWAKE, 0), SINK, count // _SHARE)
    previous = by(found["previous"], _PREVIOUS, count // _SHARE)
    taken = {*dormant, *previous}
    best = most - found["distant"].nan_to_num(0)
    looking = [place for place in by(best, 1e-9, len(places)) if place not in taken]
    return [
        *(Chosen(*place, "dormant", ()) for place in dormant),
        *(Chosen(*place, "previous", _parts(found, place, ("previous",)))
          for place in previous if place not in dormant),
        *(Chosen(*place, "definition", _parts(found, place, (_best(found, place),)))
          for place in looking[: max(count - len(taken), 0)]),
    ]  # fmt: skip


def mixture(found: Mapping[str, Tensor], layer: int, head: int) -> Chosen:
    """Any head as a mixture of the previous token, the definition and the sink."""
    place = (layer, head)
    return Chosen(layer, head, "definition", _parts(found, place, ("previous", _best(found, place))))


def groups(found: Mapping[str, Tensor], kv_heads: int, count: int) -> list[tuple[int, int]]:
    """(layer, KV head) of the groups whose heads' attention such mixtures cover best."""
    layers, width = found["sink"].shape
    size = width // kv_heads
    cover = (found["sink"] + found["previous"]).reshape(layers, kv_heads, size).mean(2)
    places = [(layer, group) for layer in range(layers) for group in range(kv_heads)]
    return sorted(places, key=lambda place: -float(cover[place]))[:count]


def _best(found: Mapping[str, Tensor], place: tuple[int, int]) -> Oracle:
    return max(DEFINITION, key=lambda oracle: float(found[oracle][place]))


def _parts(
    found: Mapping[str, Tensor], place: tuple[int, int], oracles: tuple[Oracle, ...]
) -> tuple[Part, ...]:
    return tuple(Part(oracle, round(float(found[oracle][place]), 4)) for oracle in oracles)
