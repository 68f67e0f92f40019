"""Tokens while other programs take the cores: the engine against stock llama.cpp, idle and busy by turns.

python tests/bench/bench_load.py [MODEL] [--tokens 48] [--rounds 4] [--json docs/results/load.json]

Two children hold the model: "stock", `llama_decode` alone with OpenMP's default waiting, and "engine", the
engine's own loop with bounded waiting and threads that follow the load. Drafts are off, so that a token is a
token. In each round both decode with the cores free and with an endless loop on every core, in alternating
order. Prints, per child, the median and the 90th percentile of a token's milliseconds, and both divided by
its idle median (targets for the engine: 3 and 5), and how busy the machine was before.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

CHILDREN = ("stock", "engine")
PREFIX = "# The first two hundred numbers, each beside its square.\nSQUARES = {\n" + "".join(
    f"    {n}: {n * n},\n" for n in range(1, 13)
)


def stock(model: Path) -> None:
    """Child: decodes as many tokens as each line of stdin says; prints their milliseconds as JSON."""
    from engine.runtime import library

    library._bound_spinning = lambda: None  # as llama.cpp comes
    from engine.runtime.context import Context
    from engine.runtime.llama import Model
    from engine.runtime.threads import default_threads

    loaded = Model(model)
    context = Context(loaded, context_tokens=1024, batch_tokens=56, threads=default_threads())
    prompt = list(loaded.encode(PREFIX, special=False))
    for start in range(0, len(prompt), 56):
        context.decode(prompt[start : start + 56], start)
    for count in _asked():
        times = []
        context.remove(len(prompt))
        for step in range(count):
            started = time.perf_counter()
            context.decode((prompt[step % len(prompt)],), len(prompt) + step)
            times.append((time.perf_counter() - started) * 1000)
        print(json.dumps(times), flush=True)


def engine(model: Path) -> None:
    """Child: as `stock`, through the engine."""
    from engine.request import Request
    from engine.runtime.generate import Generator
    from engine.runtime.local import LocalEngine
    from engine.runtime.threads import Pace

    local = LocalEngine(model, n_ctx=1024)
    local.__dict__["_generator"] = Generator(local._model, local._vocabulary, pace=Pace(local.info.threads))
    for count in _asked():
        marks: list[float] = []
        request = Request(PREFIX, "", path="squares.py", max_tokens=count + 1, stop_at="block")

        def mark(_text: str, marks: list[float] = marks) -> None:
            marks.append(time.perf_counter())

        local.suggest(request, on_text=mark)
        print(json.dumps([(b - a) * 1000 for a, b in itertools.pairwise(marks)]), flush=True)


def _asked() -> Iterator[int]:
    print("ready", flush=True)
    for line in sys.stdin:
        yield int(line)


class Child:
    """One of the two, in a process of its own."""

    def __init__(self, name: str, model: Path) -> None:
        self.times: dict[str, list[float]] = {"idle": [], "busy": []}
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(model), "--child", name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._line()

    def run(self, phase: str, tokens: int) -> None:
        """Decode `tokens` and note how long each took."""
        assert self._process.stdin is not None
        print(tokens, file=self._process.stdin, flush=True)
        self.times[phase] += json.loads(self._line())

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("a child ended early")
        return line

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)

    def summary(self) -> dict[str, Any]:
        """Medians, 90th percentiles and their ratios to the idle median."""
        found: dict[str, Any] = {"tokens": {phase: len(times) for phase, times in self.times.items()}}
        for phase, times in self.times.items():
            ordered = sorted(times)
            found[f"{phase}_median_ms"] = round(statistics.median(ordered), 1)
            found[f"{phase}_p90_ms"] = round(ordered[int(len(ordered) * 0.9)], 1)
            found[f"{phase}_mean_ms"] = round(statistics.fmean(ordered), 1)
        base = found["idle_median_ms"]
        for name in ("median", "p90", "mean"):
            found[f"busy_{name}_ratio"] = round(found[f"busy_{name}_ms"] / base, 2)
        return found


@contextmanager
def loops(count: int) -> Iterator[None]:
    """`count` endless loops beside what runs in it."""
    running = [subprocess.Popen(["/bin/sh", "-c", "while :; do :; done"]) for _ in range(count)]
    try:
        time.sleep(0.3)
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def measure(model: Path, *, tokens: int, rounds: int) -> dict[str, Any]:
    """Both children through all rounds."""
    load_before = os.getloadavg()
    children = {name: Child(name, model) for name in CHILDREN}
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for child in children.values():
        child.run("idle", 8)
        child.times["idle"].clear()
    for turn in range(rounds):
        order = CHILDREN if turn % 2 else CHILDREN[::-1]
        for name in order:
            children[name].run("idle", tokens)
        for name in order:
            with loops(cores):
                children[name].run("busy", tokens)
    found = {name: child.summary() for name, child in children.items()}
    for child in children.values():
        child.close()
    return {
        "model": model.stem,
        "cores": cores,
        "load_before": [round(load, 2) for load in load_before],
        "rounds": rounds,
        **found,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", default="qwen2.5-coder-0.5b")
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--child", choices=CHILDREN, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        {"stock": stock, "engine": engine}[options.child](Path(options.model))
        return
    from engine.models import provision

    result = measure(provision.locate(options.model), tokens=options.tokens, rounds=options.rounds)
    print(json.dumps(result, indent=1))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
