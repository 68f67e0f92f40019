"""Which layout of documents, which treatment of an empty suffix, and whether healing pays: per model.

    python tests/bench/layout_study.py MODEL.gguf                       # layouts and empty suffixes
    python tests/bench/layout_study.py MODEL.gguf --arms healing        # healing on and off
    python tests/bench/layout_study.py MODEL.gguf --arms suffixes       # what a real suffix does
    python tests/bench/layout_study.py MODEL.gguf --arms code           # the same without documents
    python tests/bench/layout_study.py MODEL.gguf --arms inside         # holes with a rest of the line
    python tests/bench/layout_study.py MODEL.gguf --tasks 8 --json out.json

For each arm: exact (the first line is the answer), name (it begins with the right method), and the answer's
log-probability in nats per task, summed over its tokens. Greedy, one thread pool, no timing claims.
The 95 % intervals are Wilson's. Change engine/prompt/layouts.toml by what it says.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from engine.decode.heal import Healer, Vocabulary
from engine.decode.sample import Sampler
from engine.decode.stop import Stopper
from engine.decode.stream import Utf8Stream
from engine.prompt import Family, Prompt, assemble, detect
from engine.prompt.layouts import Heal
from engine.request import Request
from engine.runtime.context import Context
from engine.runtime.llama import Model
from engine.suggest import finish
from tests.bench.api_tasks import Task, tasks
from tests.bench.code_tasks import code_tasks

CONTEXT_TOKENS = 2048
TYPED = 3


@dataclass(frozen=True)
class Arm:
    """One way to ask: layout, whether the file goes on below, how much is typed, how it is healed."""

    layout: str
    suffix: bool
    typed: int = 0
    heal: Heal = "never"
    documents: bool = True

    @property
    def name(self) -> str:
        where = "mid-word" if self.typed else "after dot"
        return " | ".join(
            (
                self.layout if self.documents else f"no document, {self.layout}",
                "file goes on" if self.suffix else "empty suffix",
                where,
                f"heal {self.heal}",
            )
        )


@dataclass(frozen=True)
class Answer:
    exact: bool
    name: bool
    nats: float


def arms(kind: str) -> list[Arm]:
    """The arms of a study, in an order that keeps long common beginnings together."""
    holes = ("fim", "anchor", "prefix")
    if kind in ("code", "inside"):
        return [Arm(f"repo/{hole}", True, heal="words", documents=False) for hole in holes]
    if kind == "suffixes":
        return [Arm(f"repo/{hole}", True, typed, "words") for hole in holes for typed in (0, TYPED)]
    if kind == "healing":
        layouts = [("repo/fim", True), ("repo/fim", False), ("repo/newline", False), ("repo/prefix", False)]
        cases: list[tuple[int, Heal]] = [
            (typed, heal) for typed in (0, TYPED) for heal in ("never", "always")
        ]
        return [Arm(name, suffix, typed, heal) for name, suffix in layouts for typed, heal in cases]
    found = [Arm("repo", True, documents=False), Arm("repo/fim", False, documents=False)]
    for layout in ("repo", "docstring", "comments"):
        found.append(Arm(f"{layout}/fim", True))
        found += [Arm(f"{layout}/{empty}", False) for empty in ("fim", "newline")]
        # Without FIM training on split tokens a prompt that ends inside one is hopeless: healed.
        found.append(Arm(f"{layout}/prefix", False, heal="words"))
    return found


class Bench:
    """A model with one sequence; a prompt recomputes only what differs from the last."""

    def __init__(self, path: Path, threads: int) -> None:
        self.model = Model(path)
        self.family: Family = detect(self.model.metadata, self.model.special)
        self.vocabulary = Vocabulary(self.model.pieces())
        self._context = Context(self.model, context_tokens=CONTEXT_TOKENS, batch_tokens=512, threads=threads)
        self._cached: list[int] = []

    def answer(self, task: Task, arm: Arm) -> Answer:
        request = task.request(typed=arm.typed, suffix=arm.suffix, documents=arm.documents, layout=arm.layout)
        family = replace(self.family, heal=arm.heal)
        prompt = assemble(
            request, self.model, family, context_tokens=CONTEXT_TOKENS - 64, vocabulary=self.vocabulary
        )
        rest = task.answer[arm.typed :]
        nats = self._score(prompt, rest)
        text = finish(self._generate(prompt, request), request).split("\n")[0].rstrip()
        method = rest.split("(")[0] + "("
        return Answer(text == rest, text.startswith(method), nats)

    def _run(self, tokens: list[int]) -> None:
        common = next(
            (i for i, (a, b) in enumerate(zip(self._cached, tokens, strict=False)) if a != b),
            min(len(self._cached), len(tokens)),
        )
        common = min(common, len(tokens) - 1)
        self._context.remove(common)
        for start in range(common, len(tokens), 512):
            self._context.decode(tokens[start : start + 512], start)
        self._cached = list(tokens)

    def _score(self, prompt: Prompt, rest: str) -> float:
        """Log-probability of the rest of the answer, under the healing constraint where there is one."""
        tokens, total = list(prompt.tokens), 0.0
        healer = Healer(self.vocabulary, prompt.heal)
        for token in self.model.encode(prompt.heal.decode() + rest, special=False):
            self._run(tokens)
            total += _log_probability(self._context.logits(), token, healer.allowed())
            healer.accept(self.model.piece(token))
            tokens.append(token)
        return total

    def _generate(self, prompt: Prompt, request: Request) -> str:
        tokens = list(prompt.tokens)
        healer, stream = Healer(self.vocabulary, prompt.heal), Utf8Stream()
        sampler, stopper = Sampler(request), Stopper(request)
        for count in range(1, request.max_tokens + 1):
            self._run(tokens)
            token = sampler.pick(self._context.logits(), allowed=healer.allowed())
            if token in self.model.eog or token in prompt.stops:
                return stopper.finish(stream.text).text
            verdict = stopper.feed(stream.feed(healer.accept(self.model.piece(token))), tokens=count)
            if verdict.reason:
                return verdict.text
            tokens.append(token)
        return stream.text


def _log_probability(logits: np.ndarray, token: int, allowed: np.ndarray | None) -> float:
    scores = (logits if allowed is None else logits[allowed]).astype(np.float64)
    top = scores.max()
    return float(logits[token] - top - math.log(np.exp(scores - top).sum()))


def study(bench: Bench, chosen: list[Arm], suite: list[Task]) -> Iterator[tuple[Arm, list[Answer]]]:
    answers: dict[Arm, list[Answer]] = {arm: [] for arm in chosen}
    for number, task in enumerate(suite, start=1):
        for arm in chosen:
            answers[arm].append(bench.answer(task, arm))
        print(f"{number}/{len(suite)} {task.name}", file=sys.stderr)
    yield from answers.items()


def _interval(hits: int, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a proportion."""
    z, p = 1.96, hits / n
    middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(0.0, (middle - half) / (1 + z * z / n)), (middle + half) / (1 + z * z / n)


def _row(arm: Arm, answers: list[Answer]) -> dict[str, object]:
    n, hits = len(answers), sum(answer.exact for answer in answers)
    return {
        "arm": arm.name,
        "exact": round(hits / n, 3),
        "interval": [round(bound, 2) for bound in _interval(hits, n)],
        "name": round(sum(answer.name for answer in answers) / n, 3),
        "nats": round(sum(answer.nats for answer in answers) / n, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument(
        "--arms", choices=("layouts", "healing", "suffixes", "code", "inside"), default="layouts"
    )
    parser.add_argument("--tasks", type=int, default=20)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    started = time.monotonic()
    bench = Bench(options.model, options.threads)
    if options.arms in ("code", "inside"):
        suite = code_tasks(options.tasks, seed=options.seed, inside=options.arms == "inside")
    else:
        suite = tasks(options.tasks, seed=options.seed)
    chosen = [
        arm for arm in arms(options.arms) if bench.family.fim or arm.layout.endswith(("repo", "prefix"))
    ]
    rows = [_row(arm, answers) for arm, answers in study(bench, chosen, suite)]
    print(f"{options.model.name}, family {bench.family.name}, {len(suite)} tasks, seed {options.seed}")
    print(f"{'arm':58} exact  95 % interval  name   nats")
    for row in rows:
        low, high = row["interval"]  # type: ignore[misc]
        numbers = f"{row['exact']:.3f}  {low:.2f} - {high:.2f}    {row['name']:.3f}  {row['nats']:.2f}"
        print(f"{row['arm']:58} {numbers}")
    print(f"{time.monotonic() - started:.0f} s", file=sys.stderr)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
