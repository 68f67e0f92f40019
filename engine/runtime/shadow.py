"""The shadow check: now and then one finished request is computed again with full attention, when idle.

What it finds is compared with what was used. Where putting documents together goes wrong in a way that the
study did not see, it is noticed here, and ended for this process.
"""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Callable
from statistics import median
from typing import Any, Literal

import numpy as np

from engine.runtime.context import Logits

log = logging.getLogger(__name__)

# At most one a minute and one in twenty requests: a check is a prompt with nothing reused.
EVERY_SECONDS = 60.0
EVERY_REQUESTS = 20
# The median of so many checks decides; nats of KL to full attention at the first generated token. Targets are
# means of 0.015 and 0.03; the default model without its documents is at 0.28.
WINDOW = 9
MOST_MEDIAN = 0.2
# One check beyond this is worth a line in the log, not more.
_STRIKING = 1.0


def divergence(full: Logits, used: Logits) -> float:
    """KL(full || used) in nats of two rows of logits; infinite when one is not a distribution."""
    p, q = (_log_softmax(np.asarray(row, np.float64)) for row in (full, used))
    value = float(np.sum(np.exp(p) * (p - q)))
    return max(0.0, value) if math.isfinite(value) else math.inf


class ShadowCheck:
    """When to check, and what the checks say so far.

    Call `finished` after every request over documents put together; when idle and `due()`, compute that
    request with full attention and hand `divergence(...)` to `observe`, or call `skip` when interrupted. At
    the verdict "alarm" documents must not be put together any more.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._requests = 0
        self._last: float | None = None
        self._seen: deque[float] = deque(maxlen=WINDOW)
        self._checks = 0
        self._alarmed = False

    def finished(self) -> None:
        """One more request was answered over documents that were put together."""
        self._requests += 1

    def due(self) -> bool:
        """Whether the last finished request should be checked now."""
        if self._alarmed or self._requests < (EVERY_REQUESTS if self._checks else 1):
            return False
        return self._last is None or self._clock() - self._last >= EVERY_SECONDS

    def skip(self) -> None:
        """A check was interrupted: try again after a while."""
        self._last = self._clock()

    def observe(self, kl: float) -> None:
        """A check found `kl` nats."""
        self._last = self._clock()
        self._requests = 0
        self._checks += 1
        self._seen.append(kl if kl >= 0 else math.inf)  # a NaN is not
        if kl > _STRIKING:
            log.info("a suggestion over documents put together was %.2f nats off full attention", kl)
        if len(self._seen) == WINDOW and median(self._seen) > MOST_MEDIAN and not self._alarmed:
            self._alarmed = True
            log.warning("%s: documents are no longer reused one by one", self.reason)

    @property
    def verdict(self) -> Literal["unknown", "fine", "alarm"]:
        """Unknown until enough checks were made; an alarm stays until the process ends."""
        if self._alarmed:
            return "alarm"
        return "fine" if len(self._seen) == WINDOW else "unknown"

    @property
    def reason(self) -> str:
        """The finding in words; "" before the first check."""
        if not self._seen:
            return ""
        return f"{median(self._seen):.2f} nats off full attention (median of {len(self._seen)} checks)"

    def status(self) -> dict[str, Any]:
        """For people and for JSON: numbers of nats are rounded, an infinite one is None."""
        return {
            "verdict": self.verdict,
            "reason": self.reason,
            "checks": self._checks,
            "median_kl": _shown(median(self._seen)) if self._seen else None,
            "last_kl": _shown(self._seen[-1]) if self._seen else None,
        }


def _log_softmax(row: np.ndarray[Any, np.dtype[np.float64]]) -> np.ndarray[Any, np.dtype[np.float64]]:
    with np.errstate(invalid="ignore", over="ignore"):
        shifted = row - row.max()
        result: np.ndarray[Any, np.dtype[np.float64]] = shifted - np.log(np.exp(shifted).sum())
        return result


def _shown(kl: float) -> float | None:
    return round(kl, 4) if math.isfinite(kl) else None
