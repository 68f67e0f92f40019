"""What a request will cost on this machine: load a document's keys and values, compute them, or leave them
out.

Milliseconds are linear in what is done (docs/cost-model.md). The constants are measured once per machine,
model and build (engine/runtime/calibrate.py) and kept true by comparing each prediction with what it came to.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Literal

Tier = Literal["ram", "disk"]
Decision = Literal["load", "compute", "skip"]
Part = Literal["compute", "load", "decode"]

PARTS: tuple[Part, ...] = ("compute", "load", "decode")
MB = 1_000_000

# A load that is cheaper than computing is worth this much even to someone without patience.
LOAD_GRACE_MS = 50.0
# Corrections are medians over so many observations; so many invented ones of 1 keep the first outliers quiet.
WINDOW = 15
_PRIOR = 3
# One observation says at most this much: a suspended laptop is not a slow one.
_MOST_OFF = 8.0
# Beyond this factor, over a whole window, the constants are measured again.
OFF_FACTOR = 2.0


@dataclass(frozen=True, kw_only=True)
class Work:
    """What is to be done, in the units that cost.

    `compute_tokens` run through the model in `calls` batches (0: as few as fit) over `attend_tokens` cached
    ones; `load_bytes_ram` are placed into the context, `load_bytes_disk` read in `reads` pieces and then
    placed, `rotate_tokens` of both rotated; `outputs` tokens are generated one by one over `attend_tokens`
    and what was computed.
    """

    compute_tokens: int = 0
    calls: int = 0
    attend_tokens: int = 0
    load_bytes_ram: int = 0
    load_bytes_disk: int = 0
    reads: int = 0
    rotate_tokens: int = 0
    outputs: int = 0


@dataclass(frozen=True, kw_only=True)
class Costs:
    """Milliseconds of one machine with one model. `measured` is the Unix time, 0 for assumed constants.

    `batches` are (tokens at once, ms) over an empty context, ascending; between them time is linear, beyond
    the last it is that of several batches. `attend_ms` is for one computed token over one cached token,
    `decode_ms` for one generated token alone, `decode_attend_ms` for it over one cached token. `ram_ms` and
    `disk_ms` are for 1 MB placed and read, `read_ms` for one read's start, `rotate_ms` for one token.
    """

    batches: tuple[tuple[int, float], ...] = ((1, 25.0), (8, 80.0), (32, 280.0), (56, 480.0))
    attend_ms: float = 0.004
    decode_ms: float = 25.0
    decode_attend_ms: float = 0.003
    ram_ms: float = 0.3
    disk_ms: float = 4.0
    read_ms: float = 0.3
    rotate_ms: float = 0.002
    measured: float = 0.0

    def batch_ms(self, tokens: float) -> float:
        """One decode of `tokens` at once over an empty context; several when they are more than fit."""
        most, most_ms = self.batches[-1]
        whole, rest = divmod(max(0.0, tokens), most)
        return whole * most_ms + self._within(rest)

    def prefill_ms(self, tokens: int, *, attend: int, calls: int = 0) -> float:
        """`tokens` of a prompt over `attend` cached ones, in `calls` equal batches (0: as few as fit)."""
        if tokens <= 0:
            return 0.0
        base = calls * self.batch_ms(tokens / calls) if calls else self.batch_ms(tokens)
        return base + self.attend_ms * tokens * (attend + tokens / 2)

    def load_ms(self, size: int, *, tier: Tier, rotate: int = 0, reads: int = 1) -> float:
        """`size` bytes of rows placed into the context, `rotate` tokens of them rotated."""
        placed = self.ram_ms * size / MB + self.rotate_ms * rotate
        return placed if tier == "ram" else placed + self.disk_ms * size / MB + self.read_ms * reads

    def parts(self, work: Work) -> dict[Part, float]:
        """The milliseconds of each part of `work`."""
        seen = work.attend_tokens + work.compute_tokens + work.outputs / 2
        ram = self.load_ms(work.load_bytes_ram, tier="ram", rotate=work.rotate_tokens)
        reads = work.reads or int(work.load_bytes_disk > 0)
        disk = self.load_ms(work.load_bytes_disk, tier="disk", reads=reads)
        return {
            "compute": self.prefill_ms(work.compute_tokens, attend=work.attend_tokens, calls=work.calls),
            "load": ram + disk,
            "decode": work.outputs * (self.decode_ms + self.decode_attend_ms * seen),
        }

    def _within(self, tokens: float) -> float:
        """Time of one batch, linear between the measured sizes."""
        if tokens <= 0:
            return 0.0
        sizes = [size for size, _ in self.batches]
        upper = bisect_left(sizes, tokens)
        if upper == 0:
            return self.batches[0][1]
        (n0, t0), (n1, t1) = self.batches[upper - 1], self.batches[min(upper, len(sizes) - 1)]
        return t0 if n0 == n1 else t0 + (t1 - t0) * (tokens - n0) / (n1 - n0)


@dataclass(frozen=True)
class Choice:
    """What to do with a unit, the milliseconds that takes, and why."""

    decision: Decision
    ms: float
    reason: str = ""


@dataclass
class CostModel:
    """Costs, and how far off they were lately.

    Each part's correction is the median of what its last observations came to, divided by what `costs` said
    of them: a machine that is busy for a while is followed within a dozen requests, one outlier is not.
    """

    costs: Costs = field(default_factory=Costs)
    _ratios: dict[Part, deque[float]] = field(
        default_factory=lambda: {p: deque(maxlen=WINDOW) for p in PARTS}
    )
    _pairs: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=2 * WINDOW))

    def predict(self, work: Work) -> float:
        """Milliseconds `work` will take."""
        return sum(ms * self.correction(part) for part, ms in self.costs.parts(work).items())

    def observe(self, work: Work, actual_ms: float) -> None:
        """`work` took `actual_ms`: what was expected of the other parts is taken off the largest one."""
        if not (math.isfinite(actual_ms) and actual_ms > 0):
            return
        base = self.costs.parts(work)
        expected = {part: ms * self.correction(part) for part, ms in base.items()}
        total, largest = sum(expected.values()), max(expected, key=expected.__getitem__)
        if total <= 0:
            return
        self._pairs.append((total, actual_ms))
        if expected[largest] >= total / 2:
            left = actual_ms - (total - expected[largest])
            self._ratios[largest].append(min(max(left / base[largest], 1 / _MOST_OFF), _MOST_OFF))

    def correction(self, part: Part) -> float:
        """What `part`'s constants are multiplied by now."""
        seen = [math.log(ratio) for ratio in self._ratios[part]]
        return math.exp(median([*seen, *[0.0] * min(_PRIOR, WINDOW - len(seen))])) if seen else 1.0

    def choose(
        self,
        *,
        tokens: int,
        attend: int,
        size: int = 0,
        tier: Tier | None = None,
        rotate: bool = True,
        patience_ms: float | None = None,
    ) -> Choice:
        """Load, compute or leave out a unit of `tokens` whose rows are `size` bytes in `tier` (None:
        nowhere).

        `attend` is how many tokens it would be computed behind. `patience_ms` is how long the unit may still
        delay the first token (None: for as long as it takes).
        """
        compute = self.predict(Work(compute_tokens=tokens, attend_tokens=attend))
        load = math.inf if tier is None else self.load_ms(size, tier=tier, rotate=tokens if rotate else 0)
        patience = math.inf if patience_ms is None else max(0.0, patience_ms)
        if load < compute:
            if load <= max(patience, LOAD_GRACE_MS):
                return Choice("load", load)
            return Choice("skip", 0.0, f"loading takes {load:.0f} ms, {patience:.0f} are left")
        if compute <= patience:
            return Choice("compute", compute)
        return Choice("skip", 0.0, f"encoding takes {compute:.0f} ms, {patience:.0f} are left")

    def load_ms(self, size: int, *, tier: Tier, rotate: int = 0) -> float:
        """Milliseconds to place `size` bytes of rows from `tier`, `rotate` tokens of them rotated."""
        return self.costs.load_ms(size, tier=tier, rotate=rotate) * self.correction("load")

    def break_even_mb_per_s(self, *, tokens: int, size: int, attend: int = 0, rotate: bool = True) -> float:
        """The bandwidth at which reading `size` bytes from a disk takes as long as computing `tokens`.

        Infinite where placing alone takes longer.
        """
        compute = self.predict(Work(compute_tokens=tokens, attend_tokens=attend))
        placing = self.load_ms(size, tier="ram", rotate=tokens if rotate else 0)
        left_ms = compute - placing - self.costs.read_ms * self.correction("load")
        return size / MB / (left_ms / 1000) if left_ms > 0 else math.inf

    def attention_budget_tokens(self, max_slowdown: float = 0.25) -> int:
        """How many tokens may be attended to until a generated token costs `max_slowdown` more than alone."""
        slope = self.costs.decode_attend_ms
        return int(min(max_slowdown * self.costs.decode_ms / slope, 2**31 - 1)) if slope > 0 else 2**31 - 1

    @property
    def off_for_long(self) -> bool:
        """Whether a part has been off by more than OFF_FACTOR over a whole window."""
        full = [part for part in PARTS if len(self._ratios[part]) == WINDOW]
        return any(abs(math.log(self.correction(part))) > math.log(OFF_FACTOR) for part in full)

    def adopt(self, costs: Costs) -> None:
        """Take over new constants, which nothing contradicts yet; how predictions did is kept."""
        self.costs = costs
        for seen in self._ratios.values():
            seen.clear()

    def ratios(self) -> dict[Part, tuple[float, ...]]:
        """Of each part, what its last observations came to over what the constants said."""
        return {part: tuple(self._ratios[part]) for part in PARTS}

    def remember(self, ratios: Mapping[Part, Iterable[float]]) -> None:
        """Go on from the `ratios` of an earlier process."""
        for part in PARTS:
            bounded = (min(max(ratio, 1 / _MOST_OFF), _MOST_OFF) for ratio in ratios.get(part, ()))
            self._ratios[part].extend(bounded)

    def status(self) -> dict[str, Any]:
        """What a person would ask: the constants, and predicted against actual times."""
        pairs = list(self._pairs)
        errors = [max(said / was, was / said) for said, was in pairs]
        return {
            "measured": self.costs.measured or None,
            "prefill_tokens_per_s": round(1000 * self.costs.batches[-1][0] / self.costs.batches[-1][1], 1),
            "decode_ms": round(self.costs.decode_ms * self.correction("decode"), 2),
            "ram_mb_per_s": round(1000 / (self.costs.ram_ms or 1e-6)),
            "disk_mb_per_s": round(1000 / (self.costs.disk_ms or 1e-6)),
            "attention_budget_tokens": self.attention_budget_tokens(),
            "corrections": {part: round(self.correction(part), 3) for part in PARTS},
            "requests": len(pairs),
            "off_median": round(median(errors), 2) if errors else None,
            "last": [
                {"predicted_ms": round(said, 1), "actual_ms": round(was, 1)} for said, was in pairs[-5:]
            ],
        }
