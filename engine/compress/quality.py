"""What a compressed model lost: perplexity, and the divergence from the model it came from."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from engine.reference.forward import LOGIT_ROWS, Head


@dataclass(frozen=True)
class Quality:
    """Over next tokens: perplexities, mean KL(before || after) in nats, share of equal first choices."""

    before: float
    after: float
    kl: float
    same_top: float
    tokens: int

    @property
    def ratio(self) -> float:
        """Of the perplexities."""
        return self.after / self.before

    def as_dict(self) -> dict[str, float]:
        """For JSON."""
        return asdict(self) | {"ratio": self.ratio}


def compare(heads: tuple[Head, Head], tokens: Tensor, before: Tensor, after: Tensor) -> Quality:
    """Of last hidden states float32 [sequences, positions, width], each with its head, for `tokens`.

    Logits are made for LOGIT_ROWS positions at a time.
    """
    targets = tokens[:, 1:].reshape(-1)
    states = [hidden[:, :-1].reshape(-1, hidden.shape[-1]) for hidden in (before, after)]
    sums = torch.zeros(4, dtype=torch.float64)
    with torch.no_grad():
        for start in range(0, len(targets), LOGIT_ROWS):
            rows = slice(start, start + LOGIT_ROWS)
            p, q = (
                torch.log_softmax(head.logits(state[rows]), 1)
                for head, state in zip(heads, states, strict=True)
            )
            chosen = targets[rows, None]
            apart = (p.exp() * (p - q)).sum(1).clamp(min=0)
            found = (-p.gather(1, chosen), -q.gather(1, chosen), apart, p.argmax(1) == q.argmax(1))
            sums += torch.stack([part.double().sum() for part in found])
    mean = (sums / max(len(targets), 1)).tolist()
    return Quality(_exp(mean[0]), _exp(mean[1]), mean[2], mean[3], len(targets))


def _exp(surprise: float) -> float:
    return math.exp(min(surprise, 700.0))
