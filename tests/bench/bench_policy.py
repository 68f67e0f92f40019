"""What the engine's own Python costs around a token: sampling, healing, stopping, assembling a prompt.

    python tests/bench/bench_policy.py [MODEL]

MODEL is a catalogue name or a GGUF (default: the default model).
Medians in microseconds (a decoded token of the default model takes about 20,000).
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from engine.decode.heal import Healer, Vocabulary
from engine.decode.sample import Sampler
from engine.decode.stop import Stopper
from engine.documents import Document
from engine.models import provision
from engine.prompt import Family, assemble, detect
from engine.request import Request
from engine.runtime.llama import Model
from engine.settings import Settings
from engine.suggest import finish

HERE = Path(__file__).parents[2]


def median_us(work: Callable[[], object], *, rounds: int = 50) -> float:
    spent = []
    for _ in range(rounds):
        started = time.perf_counter()
        work()
        spent.append((time.perf_counter() - started) * 1e6)
    return statistics.median(spent)


def stopping(request: Request, text: str) -> float:
    """Mean per token, four characters a token."""
    stopper = Stopper(request)
    started = time.perf_counter()
    for end in range(4, len(text), 4):
        if stopper.feed(text[:end]).reason:
            raise SystemExit("the text ended early")
    return (time.perf_counter() - started) * 1e6 / (len(text) // 4)


def keystrokes(request: Request, model: Model, family: Family, vocabulary: Vocabulary) -> float:
    """A prompt cut to 2,048 tokens, each time with one more character typed."""
    typed = iter(range(1000))

    def one() -> None:
        longer = replace(request, prefix=request.prefix + "x" * next(typed))
        assemble(longer, model, family, context_tokens=2048, vocabulary=vocabulary)

    return median_us(one, rounds=30)


def main() -> None:
    model = Model(provision.locate(sys.argv[1] if len(sys.argv) > 1 else Settings().model))
    pieces = model.pieces()
    vocabulary = Vocabulary(pieces)
    family = detect(model.metadata, model.special)
    logits = np.random.default_rng(0).normal(size=len(pieces)).astype(np.float32)
    source = (HERE / "engine" / "runtime" / "fake.py").read_text()
    documents = tuple(Document(f"{i}.py", source, "source") for i in range(4))
    middle = source.index("\n", len(source) // 2) + 1
    request = Request(source[:middle], source[middle:], path="fake.py", documents=documents, max_tokens=9999)
    call = "book.enter(" + ", ".join(f"item_{i}=values[{i}]" for i in range(60))
    rows = {
        "greedy pick": median_us(lambda: Sampler(request).pick(logits)),
        "sampled pick, top-k 40": median_us(lambda: Sampler(Request("", "", temperature=0.7)).pick(logits)),
        "allowed tokens of a healed `.ent`": median_us(lambda: Healer(vocabulary, b".ent").allowed()),
        "a healed greedy pick": median_us(
            lambda: Sampler(request).pick(logits, allowed=Healer(vocabulary, b" ").allowed())
        ),
        "stopping, a token": stopping(Request("x = 1\n", "\n", path="a.py", max_tokens=9999), call),
        "a Stopper for a 9 KB file": median_us(lambda: Stopper(request)),
        "filters": median_us(lambda: finish(call, request)),
        "assemble, all fits": median_us(
            lambda: assemble(request, model, family, context_tokens=20_000, vocabulary=vocabulary), rounds=9
        ),
        "assemble, cut to 2,048 tokens": median_us(
            lambda: assemble(request, model, family, context_tokens=2048, vocabulary=vocabulary), rounds=9
        ),
        "assemble, a keystroke later": keystrokes(request, model, family, vocabulary),
        "the vocabulary, once": median_us(lambda: Vocabulary(pieces), rounds=3),
    }
    for name, cost in rows.items():
        print(f"{name:38} {cost:12,.0f} µs")


if __name__ == "__main__":
    main()
