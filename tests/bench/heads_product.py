"""What given heads do to suggestions: lines of real code completed with one setting `heads` beside another.

    python tests/bench/heads_product.py [--model NAME] [--lines 60] [--heads off/dormant] [--out FOLDER]

Each line stands in its own file, of packages of this environment, with what is above and below it in the
prompt (fill in the middle). All settings complete a line one after the other, in turns. By setting: how often
the line is written exactly, the negative log-probability of the true line in nats a token, the tokens
generated in a second of the processor; each but "off" also as a difference (of times: as a ratio) of pairs.
Intervals are 95 % bootstraps over lines. Finished lines are kept in --out: an interrupted run goes on.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from engine.compress.text import JUDGED
from engine.models import provision
from engine.request import Request
from engine.runtime.account import Account
from engine.runtime.kv import CachedTokens
from engine.runtime.local import LocalEngine
from engine.runtime.looking import Looking
from engine.settings import Settings
from engine.studies import corpus
from engine.studies.results import Results
from engine.studies.statistics import bootstrap, log_totals, ratio, surprise
from tests.bench import measure

ARMS = ("off", "dormant", "dormant,previous", "definitions", "sink-only", "re-weight")
_FILE_TOKENS, _MOST_TOKENS, _AT_ONCE = 256, 32, 16
_PER_FILE = 2
_SEED = 1


def options() -> Any:
    parser = measure.parser(__doc__)
    parser.add_argument("--lines", type=int, default=60)
    parser.add_argument(
        "--heads", default="/".join(ARMS), help="settings, with / between them; the first is compared to"
    )
    parser.add_argument("--out", type=Path, help="where finished lines are kept")
    return parser.parse_args()


def holes(count: int) -> list[tuple[Request, str]]:
    """Requests at lines that hold no name from elsewhere, and the lines; the same for the same packages."""
    draw = random.Random(f"holes:{_SEED}")
    packages = [package for package in corpus.installed() if package.name in JUDGED]
    files = [file for package in packages for file in package.files]
    draw.shuffle(files)
    found: list[tuple[Request, str]] = []
    for file in files:
        rows = file.text.split("\n")
        numbers = [number for number in range(25, len(rows) - 1) if _is_telling(rows, number)]
        for number in draw.sample(numbers, min(_PER_FILE, len(numbers))):
            indent = rows[number][: len(rows[number]) - len(rows[number].lstrip())]
            request = Request(
                "\n".join(rows[:number]) + "\n" + indent, "\n" + "\n".join(rows[number + 1 :]),
                path=str(file.path), max_tokens=_MOST_TOKENS, file_tokens=_FILE_TOKENS, stop_at="line",
            )  # fmt: skip
            found.append((request, rows[number].strip()))
    return found[:count]


def _is_telling(rows: list[str], number: int) -> bool:
    text = rows[number].strip()
    plain = text and not text.startswith(("#", '"', "'", "import ", "from ", "@", ")", "]", "}"))
    above = "\n".join(rows[max(0, number - 12) : number])
    words = corpus.words(text)
    return bool(plain) and len(words) >= 2 and len(text) <= 72 and words <= corpus.words(above)


def measured(engine: LocalEngine, request: Request, wanted: str) -> measure.Json:
    """One line by one engine, from an empty cache."""
    reuse = engine._opened()[1]
    assert isinstance(reuse, CachedTokens)
    reuse.keep([-1])  # a token that none is: nothing stays
    # The processor's time: on a machine that is busy with other things the clock tells nothing.
    clock = [time.process_time()]
    made = engine.suggest(request, on_text=lambda _: clock.append(time.process_time()))
    end = time.process_time()
    return {
        "right": made.text.strip() == wanted,
        "nll": _nll(engine, request, wanted),
        "tokens": max(0, made.tokens_generated - 1),
        "decode_cpu_ms": round((end - clock[1]) * 1e3 if len(clock) > 1 else 0.0, 2),
        "first_cpu_ms": round(((clock[1] if len(clock) > 1 else end) - clock[0]) * 1e3, 2),
    }


def _nll(engine: LocalEngine, request: Request, wanted: str) -> list[float]:
    """Of each token of the true line and of what ends it, behind the prompt that `suggest` left there."""
    context, reuse = engine._opened()
    prompt = engine._assemble(request)
    known = engine._looks.known(request, prompt)
    tokens = engine._model.encode(prompt.heal.decode() + wanted + "\n", special=False)
    logits = reuse.run(prompt, Account(), patience_ms=None, edges=known.edges if known else None)
    growing = engine._looks.growing(reuse, context, request, prompt, known) or reuse
    first = logits[None].copy()
    found = [*surprise(first, log_totals(first), tokens[:1])]
    for start in range(0, len(tokens) - 1, _AT_ONCE):
        part = tokens[start : min(start + _AT_ONCE, len(tokens) - 1)]
        rows = growing.extend(part)
        found += [*surprise(rows, log_totals(rows), tokens[start + 1 : start + 1 + len(part)])]
    if isinstance(growing, Looking):
        growing.close()
    return [round(float(one), 4) for one in found]


def rows(results: Results, names: list[str], arms: list[str]) -> Iterator[measure.Json]:
    """A row a setting, over the lines that all of them completed."""
    done = [found for name in names if (found := results.get(name)) and set(arms) <= set(found)]
    base = [each[arms[0]] for each in done]
    for arm in arms:
        own = [each[arm] for each in done]
        speed = ratio([_tokens(a) for a in own], [a["decode_cpu_ms"] / 1e3 for a in own], seed=_SEED)
        row: measure.Json = {
            "heads": arm,
            "lines": len(own),
            "exact": _interval(bootstrap([float(a["right"]) for a in own], seed=_SEED)),
            "nll": _interval(ratio([sum(a["nll"]) for a in own], [len(a["nll"]) for a in own], seed=_SEED)),
            "tokens_per_s": _interval(speed, 1),
        }
        if arm != arms[0]:
            pairs = list(zip(own, base, strict=True))
            row["exact_change"] = _interval(
                bootstrap([a["right"] - b["right"] for a, b in pairs], seed=_SEED)
            )
            changes = [sum(a["nll"]) - sum(b["nll"]) for a, b in pairs]
            row["nll_change"] = _interval(ratio(changes, [len(a["nll"]) for a in own], seed=_SEED))
            # Of the same tokens: lines that differ in length take other times.
            same = [
                (a["decode_cpu_ms"], b["decode_cpu_ms"]) for a, b in pairs if a["tokens"] == b["tokens"] > 0
            ]
            row["decode_time"] = _interval(ratio([a for a, _ in same], [b for _, b in same], seed=_SEED), 3)
            first = [(a["first_cpu_ms"], b["first_cpu_ms"]) for a, b in pairs]
            row["first_time"] = _interval(ratio([a for a, _ in first], [b for _, b in first], seed=_SEED), 3)
        yield row


def _tokens(found: Any) -> float:
    return float(found["tokens"])


def _interval(found: Any, digits: int = 4) -> measure.Json:
    return {key: round(value, digits) for key, value in asdict(found).items()}


def main() -> int:
    """Measure, print, write."""
    chosen = options()
    load = measure.machine()
    arms = chosen.heads.split("/")
    path = provision.locate(chosen.model or "smollm2-135m")
    tasks = holes(chosen.lines)
    out = chosen.out or Path(tempfile.mkdtemp())
    results = Results(out, {"study": "heads-product", "model": path.name, "heads": arms, "seed": _SEED})
    engines = {
        arm: LocalEngine(
            path,
            n_ctx=512,
            threads=chosen.threads,
            settings=Settings(reuse="prefix", heads=arm, drafts="off"),
        )
        for arm in arms
    }
    given = {arm: engine._builder.choice.counts() for arm, engine in engines.items()}
    for number, (request, wanted) in enumerate(tasks):
        if (name := f"{number} {request.path}") in results:
            continue
        order = [*arms[number % len(arms) :], *arms[: number % len(arms)]]
        results.add(name, {arm: measured(engines[arm], request, wanted) for arm in order})
        measure.say(f"{number + 1} of {len(tasks)}  {request.path}")
    names = [f"{number} {request.path}" for number, (request, _) in enumerate(tasks)]
    table = list(rows(results, names, arms))
    measure.publish(
        {"model": path.stem, "threads": chosen.threads, "given": given, "rows": table}, chosen, load=load
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
