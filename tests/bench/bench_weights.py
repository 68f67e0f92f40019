"""One token and a prompt of 256, by weight type: our packed products beside stock llama.cpp, in turn.

    python tests/bench/bench_weights.py [--model NAME] [--rounds 7] [--json docs/results/weights.json]

Forms of the model with the same output head, linear layers rounded to each type (speed does not depend on
the values), loaded side by side in one process; each round decodes with every one of them. Floor: the bytes
a token reads by the memory's speed. Greedy texts of equal values are compared as well.
"""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from engine.models import header, provision, rewrite
from engine.optimise import groups as grouping
from engine.optimise.candidate import Maker
from engine.runtime import kernels
from engine.runtime.context import Context
from engine.runtime.llama import Model
from tests.bench import measure

DEFAULT_MODEL = "qwen2.5-coder-0.5b"
TOKENS = 16
PROMPT = 256
TYPES = {"q4_0": 2, "i3_0": 241, "s24_0": 240}


@dataclass
class Runner:
    """A loaded form with the kernels it is meant for."""

    name: str
    choice: kernels.Choice
    context: Context
    read_bytes: int

    def token_ms(self) -> float:
        """Of single tokens behind a short prompt."""
        self._begin()
        begun = time.perf_counter()
        for step in range(TOKENS):
            self.context.decode([200 + step], 16 + step)
        return (time.perf_counter() - begun) * 1e3 / TOKENS

    def prompt_ms(self) -> float:
        """Of 256 tokens at once."""
        kernels.choose(self.choice)
        self.context.clear()
        begun = time.perf_counter()
        self.context.decode([1000 + step * 7919 % 9000 for step in range(PROMPT)], 0)
        return (time.perf_counter() - begun) * 1e3

    def text(self, count: int = 48) -> list[int]:
        """A greedy continuation."""
        self._begin()
        found = []
        for step in range(count):
            found.append(int(self.context.logits().argmax()))
            self.context.decode(found[-1:], 16 + step)
        return found

    def _begin(self) -> None:
        kernels.choose(self.choice)
        self.context.clear()
        self.context.decode([100 + step for step in range(16)], 0)


def forms(source: Path, work: Path) -> dict[str, Path]:
    """The model's file, and its linear layers in every type, the head as it is."""
    found = header.read(source)
    every = grouping.groups(found)
    maker = Maker(source, found, work)
    paths = {"as shipped": source}
    for name, kind in TYPES.items():
        paths[name] = work / f"{name}.gguf"
        maker.write(paths[name], every, {group.name: kind for group in every if group.role != grouping.HEAD})
    return paths


def loaded(name: str, path: Path, choice: kernels.Choice, threads: int) -> Runner:
    """Packed where the kernels say so: at load."""
    kernels.choose(choice)
    read = [tensor for group in grouping.groups(header.read(path)) for tensor in group.tensors]
    context = Context(Model(path), context_tokens=512, batch_tokens=PROMPT, threads=threads)
    return Runner(name, choice, context, sum(map(rewrite.size_of, read)))


def main() -> int:
    """Measure, print, write."""
    options = measure.parser(__doc__, rounds=7).parse_args()
    load = measure.machine()
    with tempfile.TemporaryDirectory() as work:
        paths = forms(provision.locate(options.model or DEFAULT_MODEL), Path(work))
        runners = [
            loaded("as shipped, stock", paths["as shipped"], "stock", options.threads),
            loaded("q4_0, stock", paths["q4_0"], "stock", options.threads),
            *(loaded(name, path, "auto", options.threads) for name, path in paths.items()),
        ]
        took = {runner.name: {"token": [], "prompt": []} for runner in runners}  # type: ignore[var-annotated]
        for number in range(options.rounds + 1):
            for runner in runners if number % 2 else reversed(runners):
                token, prompt = runner.token_ms(), runner.prompt_ms()
                if number:  # the first round warms up
                    took[runner.name]["token"].append(token)
                    took[runner.name]["prompt"].append(prompt)
        rows = [row(runner, took) for runner in runners]
        same = [a == b for a, b in zip(runners[1].text(), runners[3].text(), strict=True)]
    alike = [*same, False].index(False)
    measure.say(f"greedy tokens of q4_0 before the first that is not stock's: {alike} of {len(same)}")
    found: measure.Json = {"threads": options.threads, "rows": rows, "same_greedy_tokens": alike}
    measure.publish(found, options, load=load)
    return 0


def row(runner: Runner, took: dict[str, dict[str, list[float]]]) -> measure.Json:
    """Milliseconds, and ratios of pairs to both stock forms."""
    own, shipped, stock = took[runner.name], took["as shipped, stock"], took["q4_0, stock"]
    found: measure.Json = {
        "form": runner.name,
        "read_mb": round(runner.read_bytes / 1e6, 1),
        "token_ms": measure.spread(own["token"]),
        "over_shipped": measure.ratios(shipped["token"], own["token"]),
        "over_stock_q4_0": measure.ratios(stock["token"], own["token"]),
        "prompt_ms": measure.spread(own["prompt"]),
        "prompt_over_stock_q4_0": measure.ratios(stock["prompt"], own["prompt"]),
    }
    keys = ("token_ms", "over_shipped", "over_stock_q4_0", "prompt_ms", "prompt_over_stock_q4_0")
    medians = [found[key]["median"] for key in keys]  # type: ignore[index]
    measure.say(
        f"{runner.name:20} {found['read_mb']:6} MB  token {medians[0]:6.1f} ms  {medians[1]:.2f}x shipped  "
        f"{medians[2]:.2f}x q4_0  prompt {medians[3]:6.0f} ms  {medians[4]:.2f}x"
    )
    return found


if __name__ == "__main__":
    raise SystemExit(main())
