"""In how many batches a text comes with look-up drafts, where a batch costs what it always costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from engine.decode.draft import BatchCosts, Chances, Drafter
from engine.decode.lookup import Lookup
from engine.prompt import Prompt
from engine.runtime.generate import texts
from engine.runtime.llama import Model
from engine.usedef import Analysis

# What each further token of a batch costs, of one alone: our kernels, docs/decoding.md.
_SLOPE = 0.07
_SUFFIX_CHARACTERS = 4000


class Batches:
    """Counts, text after text, with what was learned from those before."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._learned = {name: (Chances(), BatchCosts()) for name in ("plain", "names")}

    def __call__(self, prompt: Prompt, said: str, suffix: str, asked: Analysis) -> dict[str, int]:
        """Tokens of `said`, and in how many batches they come; `names`: with the names in scope as well."""
        references = texts(prompt)
        history = references.pop()
        if not any(segment.kind == "suffix" for segment in prompt.segments):  # as the generator has it
            references.append(self._encode(suffix[:_SUFFIX_CHARACTERS]))
        names = sorted(asked.names_at(), key=lambda one: (-one.level, one.definitions[-1].start))
        extra = [self._encode(lead + one.text) for one in names for lead in ("", " ")]
        tokens = self._encode(prompt.heal.decode() + said)
        found = {"tokens": len(tokens), "texts": sum(map(len, references)), "of_names": sum(map(len, extra))}
        for key, texts_ in (("plain", references), ("names", [*extra, *references])):
            chances, costs = self._learned[key]
            drafter = Drafter(Lookup(texts_, history), chances=chances, costs=costs)
            counts = _simulated(drafter, costs, tokens)
            found |= {f"{key}_{name}": count for name, count in counts.items()}
        return found

    def _encode(self, text: str) -> list[int]:
        return self._model.encode(text, special=False)


def _simulated(drafter: Drafter, costs: BatchCosts, tokens: Sequence[int]) -> Counter[str]:
    counts: Counter[str] = Counter(batches=0, drafted=0, accepted=0)
    at = 0
    while at < len(tokens):
        drafter.follow(tokens[at])
        at += 1
        draft = drafter.draft(len(tokens))
        costs.observe(1 + len(draft), 1 + _SLOPE * len(draft))
        counts.update(batches=1, drafted=len(draft))
        for token in draft:
            if at == len(tokens) or tokens[at] != token:
                break
            drafter.follow(token)
            counts["accepted"] += 1
            at += 1
    return counts
