"""Drafts: how many looked-up tokens to have the model check at once, and whether that pays at all.

The model computes the chosen token and the guesses behind it in one batch; the sampler then picks from each
row of logits as it would have without them, and a guess stands when it is what was picked. So the text is
that of decoding one by one, greedy or sampled (speculative sampling, arXiv:2211.17192, with drafts that have
no distribution of their own), but for the last bits of logits, which depend on the size of a batch.

A batch costs more than a token, how much more depends on the machine, and guesses are often wrong. Both are
measured: what a batch of n costs (`BatchCosts`), and how often guesses of a kind are right (`Chances`), which
is learned at every token, drafted or not, by guessing silently.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from statistics import median

from engine.decode.lookup import Guess, Lookup

LONGEST_DRAFT_TOKENS = 15
# A draft must promise this much more tokens a second than none: guesses and costs are estimates.
LEAST_GAIN = 1.08
# Below this chance of the first guess a draft is not even put together.
HOPELESS = 0.25
_FORGET = 0.97  # of what is known of a kind, a guess: some 30 guesses count
_PRIOR_GUESSES = 4.0
_REMEMBERED_COSTS = 9
_BATCHES_PER_TOKEN_ALONE = 24
_REFUSALS_UNTIL_DOUBT = 48
# Before anything was measured: what each further token of a batch costs, of one token alone.
_PRIOR_SLOPE = 0.3

Kind = tuple[int, int]


class Chances:
    """How often guesses were right, by kind: the match's length, and whether matches agree."""

    def __init__(self) -> None:
        self._right: dict[Kind, float] = {}
        self._seen: dict[Kind, float] = {}

    def of(self, guess: Guess) -> float:
        """The chance that `guess` is right, when those before it were: 0 to 1."""
        kind = _kind(guess)
        prior = _prior(kind)
        right, seen = self._right.get(kind, 0.0), self._seen.get(kind, 0.0)
        return (right + prior * _PRIOR_GUESSES) / (seen + _PRIOR_GUESSES)

    def learn(self, guess: Guess, token: int) -> None:
        """`token` came where `guess` was made."""
        kind = _kind(guess)
        self._right[kind] = self._right.get(kind, 0.0) * _FORGET + (guess.token == token)
        self._seen[kind] = self._seen.get(kind, 0.0) * _FORGET + 1.0


class BatchCosts:
    """What a batch of n tokens costs, in tokens decoded alone: the median of the last few measurements.

    Sizes that were not measured lie on the line between those that were; beyond them the line goes on, but
    never down. Measurements are compared with tokens decoded alone at about the same time, for a machine's
    load changes.
    """

    def __init__(self) -> None:
        self._alone_ms: deque[float] = deque(maxlen=_REMEMBERED_COSTS)
        self._ratios: dict[int, deque[float]] = {}
        self._known: list[tuple[int, float]] = [(1, 1.0)]
        self._batches = 0
        self._refusals = 0

    @property
    def token_ms(self) -> float:
        """Milliseconds of a token alone; 0 when none was measured."""
        return median(self._alone_ms) if self._alone_ms else 0.0

    @property
    def stale(self) -> bool:
        """Whether a token should be decoded alone, to have something to compare with."""
        return not self._alone_ms or self._batches >= _BATCHES_PER_TOKEN_ALONE

    def observe(self, size: int, ms: float) -> None:
        """A batch of `size` tokens took `ms`."""
        if size == 1:
            self._alone_ms.append(ms)
            self._batches = 0
        elif self._alone_ms:
            seen = self._ratios.setdefault(size, deque(maxlen=_REMEMBERED_COSTS))
            seen.append(ms / max(self.token_ms, 1e-6))
            self._batches += 1
            self._refusals = 0
            self._learn()

    def doubt(self) -> None:
        """No draft was worth its cost. After many times in a row the oldest measurements are forgotten.

        What is not done is not measured: without this, costs once measured in a bad moment would stand.
        """
        self._refusals += 1
        if self._refusals >= _REFUSALS_UNTIL_DOUBT:
            self._refusals = 0
            for seen in self._ratios.values():
                seen.popleft()
            self._learn()

    def of(self, size: int) -> float:
        """The cost of a batch of `size`."""
        known = self._known
        at = bisect_left(known, (size, 0.0))
        if at < len(known) and known[at][0] == size:
            return known[at][1]
        n, cost = known[at - 1]
        if at < len(known):
            m, next_cost = known[at]
            return cost + (next_cost - cost) * (size - n) / (m - n)
        slope = max(0.0, cost - 1.0) / (n - 1) if n > 1 else _PRIOR_SLOPE
        return cost + slope * (size - n)

    def _learn(self) -> None:
        self._ratios = {size: seen for size, seen in self._ratios.items() if seen}
        self._known = [(1, 1.0), *sorted((size, median(seen)) for size, seen in self._ratios.items())]


class Drafter:
    """Drafts for one request; `chances` and `costs` outlive it.

    drafter.follow(token)                      # the token that was picked, always
    draft = drafter.draft(limit)               # tokens to check behind it, often none
    """

    def __init__(
        self,
        lookup: Lookup,
        *,
        chances: Chances,
        costs: BatchCosts,
        longest: int = LONGEST_DRAFT_TOKENS,
    ) -> None:
        self._lookup = lookup
        self._longest = longest
        self._chances = chances
        self._costs = costs
        self._next: Guess | None = None
        self._look()

    def follow(self, token: int) -> None:
        """The generation goes on with `token`: learn from what was guessed for it."""
        if self._next is not None:
            self._chances.learn(self._next, token)
        self._lookup.append(token)
        self._look()

    def draft(self, limit: int) -> tuple[int, ...]:
        """The guesses that are worth checking now, at most `limit`; none when one by one is as fast."""
        if self._next is None or limit < 1 or self._costs.stale:
            return ()
        if self._chances.of(self._next) < HOPELESS:
            return ()
        guesses = self._lookup.guesses(min(limit, self._longest))
        count = best_length([self._chances.of(guess) for guess in guesses], self._costs)
        if not count:
            self._costs.doubt()
        return tuple(guess.token for guess in guesses[:count])

    def _look(self) -> None:
        self._next = next(iter(self._lookup.guesses(1)), None)


def best_length(chances: Sequence[float], costs: BatchCosts) -> int:
    """How many guesses with these chances, each given those before it, to check at once: 0 when none pay.

    The expected tokens of a batch are 1 + p1 + p1 p2 + ... (a picked token always comes of it).
    """
    best, gain, expected, chance = 0, LEAST_GAIN, 1.0, 1.0
    for count, one in enumerate(chances, start=1):
        chance *= one
        expected += chance
        if expected / costs.of(count + 1) > gain:
            best, gain = count, expected / costs.of(count + 1)
    return best


def _kind(guess: Guess) -> Kind:
    length = next(i for i, most in enumerate(_LENGTHS) if guess.length <= most)
    if guess.matches == 1:
        return length, 0
    share = guess.votes / guess.matches
    return length, 3 if share > 0.99 else 2 if share > 0.6 else 1


_LENGTHS = (1, 2, 3, 5, 8, 10**9)
# By length and agreement (one match, no majority, a majority, all): what holds before anything is learned.
_PRIORS = (
    (0.15, 0.15, 0.4, 0.6),
    (0.35, 0.3, 0.6, 0.75),
    (0.5, 0.35, 0.65, 0.8),
    (0.65, 0.4, 0.7, 0.85),
    (0.75, 0.4, 0.75, 0.9),
    (0.85, 0.4, 0.75, 0.92),
)


def _prior(kind: Kind) -> float:
    return _PRIORS[kind[0]][kind[1]]
