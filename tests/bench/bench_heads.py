"""What giving heads costs and saves: decodes with some heads given, against the same with none.

    python tests/bench/bench_heads.py [--model NAME] [--rounds 9] [--json FILE]

Arms take turns in one process over the same cells: none given; the feature switched off; the kinds of the
model's head profile (docs/heads.md); every head of a quarter, and of all layers (what could be saved at the
very most). The first decode after a change builds the graph anew and is not timed. `ms` are the processor's,
of all threads, `ratio` is to those with none given, with a 95 % bootstrap interval over rounds, of which
decodes of a token have six times as many. `products` are those of queries and keys in a decode, done and left
out (counted where heads are given). Before that, on --texts files of this repository's code, what the dormant
heads change: the negative log-probability in nats a token. With --rounds 0 nothing is timed.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from engine.injection import choice
from engine.models import digest, provision
from engine.runtime import extension, kernels
from engine.runtime.context import Context
from engine.runtime.given import GivenHead, heads_of
from engine.runtime.llama import Model
from engine.settings import folders
from engine.studies.statistics import bootstrap, log_totals, ratio, surprise
from tests.bench import measure
from tests.bench.bench_kernels import DEFAULT_MODEL, fill, words

DEPTHS = (256, 2048)
SIZES = (1, 32)
TEXTS = (
    "lsp/session.py",
    "journal/document.py",
    "engine/errors.py",
    "journal/context.py",
    "lsp/suggester.py",
)
TOKENS, BATCH = 768, 64
KINDS = ("dormant", "previous", "definitions", "dormant,previous,definitions")
FEATURES = (extension.LOOSE_POSITIONS, extension.MASK_BIAS, extension.KV_ROWS)


def arms(model: Model) -> dict[str, list[GivenHead]]:
    """Heads by the name of an arm."""
    layers = int(model.metadata[f"{model.metadata['general.architecture']}.block_count"])
    heads = int(model.metadata[f"{model.metadata['general.architecture']}.attention.head_count"])
    sha256, own = digest.of(model.path), folders().state / "heads"
    found = {}
    for kinds in KINDS:
        given = heads_of(choice.choose(kinds, [sha256], own=own, features=extension.features()))
        if given:
            found[f"{kinds} ({len(given)})"] = given
    found["every head, a quarter of layers"] = [
        GivenHead(i, j) for i in range(0, layers, 4) for j in range(heads)
    ]
    found["every head"] = [GivenHead(i, j) for i in range(layers) for j in range(heads)]
    return found


def likelihood(context: Context, model: Model, heads: list[GivenHead], texts: int) -> measure.Json:
    """NLL of real code, and how it changes with `heads`; intervals over tokens.

    `noise` is the change when the heads' outputs move by a hundred-thousandth: that of rounding alone.
    """
    width = {layer.index: layer.v_head for layer in extension.layers(context.handle)}
    moved = [replace(head, constant=(1e-5,) * width[head.layer]) for head in heads]
    begin = [] if model.bos is None else [model.bos]
    root = Path(__file__).resolve().parents[2]
    files = [
        [*begin, *model.encode((root / name).read_text("utf-8"), special=False)][:TOKENS]
        for name in TEXTS[:texts]
    ]
    plain, given, near = (
        [one for tokens in files for one in nll(context, tokens, each)] for each in ([], heads, moved)
    )

    def change(one: list[float], other: list[float]) -> list[float]:
        found = bootstrap([b - a for a, b in zip(one, other, strict=True)], seed=1)
        return [round(value, 5) for value in (found.mean, found.low, found.high)]

    return {
        "tokens": len(plain),
        "nll": round(float(sum(plain)) / len(plain), 4),
        "change": change(plain, given),
        "noise": change(given, near),
    }


def nll(context: Context, tokens: list[int], heads: list[GivenHead]) -> list[float]:
    """Of each token but the first, in nats."""
    context.set_heads(heads)
    context.clear()
    found: list[float] = []
    for start in range(0, len(tokens) - 1, BATCH):
        part = tokens[start : min(start + BATCH, len(tokens) - 1)]
        context.decode(part, start, outputs="all")
        rows = context.logits_rows()
        found += [*surprise(rows, log_totals(rows), tokens[start + 1 : start + 1 + len(part)])]
    return found


def timed(context: Context, count: int, depth: int) -> float:
    """The processor's milliseconds of one decode, the second of two."""
    took = 0.0
    for _ in range(2):
        context.remove(depth, -1)
        begun = time.process_time()
        context.decode(words(count, depth), depth)
        took = (time.process_time() - begun) * 1e3
    return took


def main() -> int:
    """Measure, print, write."""
    parser = measure.parser(__doc__, rounds=9)
    parser.add_argument("--texts", type=int, default=len(TEXTS))
    parser.add_argument("--depths", type=int, nargs="+", default=DEPTHS, help="tokens in the cache")
    parser.add_argument("--switch", action="store_true", help="only the feature on and off, none given")
    chosen = parser.parse_args()
    load = measure.machine()
    kernels.choose()
    model = Model(provision.locate(chosen.model or DEFAULT_MODEL))
    context = Context(
        model, context_tokens=4096, batch_tokens=128, threads=chosen.threads, outputs=BATCH,
        features=(*FEATURES, extension.HEADS),
    )  # fmt: skip
    ways: dict[str, Callable[[], None]] = {
        "none": lambda: context.set_heads([]),
        "switched off": lambda: extension.enable(context.handle, *FEATURES),
    }
    named = arms(model)
    changed = {
        name: likelihood(context, model, heads, chosen.texts)
        for name, heads in named.items()
        if name.startswith("dormant (") and chosen.texts
    }
    measure.say(f"NLL {changed}")
    for name, heads in named.items() if not chosen.switch else ():
        ways[name] = lambda heads=heads: context.set_heads(heads)  # type: ignore[misc]
    rows = []
    measure.say(f"cached  tokens  {'given':32} {'ms':>9}  ratio to none")
    for depth in chosen.depths if chosen.rounds else ():
        context.set_heads([])
        fill(context, depth)
        for count in SIZES:
            rows += rounds(context, ways, count, depth, chosen.rounds * (6 if count == 1 else 1))
    measure.publish(
        {"model": model.path.stem, "threads": chosen.threads, "nll": changed, "rows": rows}, chosen, load=load
    )
    return 0


def rounds(
    context: Context, ways: dict[str, Callable[[], None]], count: int, depth: int, most: int
) -> list[measure.Json]:
    """One row an arm."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    products: dict[str, list[int]] = {}
    for number in range(most):
        for name in list(ways)[:: 1 if number % 2 else -1]:
            extension.enable(context.handle, *FEATURES, extension.HEADS)
            ways[name]()
            before = extension.head_counts()
            found[name].append(timed(context, count, depth))
            # Of two decodes.
            products[name] = [(a - b) // 2 for a, b in zip(extension.head_counts(), before, strict=True)]
    rows: list[measure.Json] = []
    for name, took in found.items():
        against = ratio(took, found["none"], seed=1)
        told = [round(value, 3) for value in (against.mean, against.low, against.high)]
        rows.append(
            {"cached": depth, "tokens": count, "given": name, "ms": measure.spread(took, 2), "ratio": told,
             "products": dict(zip(("done", "left_out"), products[name], strict=True))}
        )  # fmt: skip
        measure.say(f"{depth:6}  {count:6}  {name:32} {measure.spread(took)['median']:9.1f}  {told}")
    return rows


if __name__ == "__main__":
    sys.exit(main())
