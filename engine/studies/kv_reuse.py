"""`steerway study kv-reuse`: what is lost when documents are encoded one by one, what loading them saves."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, Protocol

from engine.studies import arms, corpus, loading, tasks
from engine.studies.arms import Arm
from engine.studies.corpus import Package
from engine.studies.results import Results
from engine.studies.tasks import SETS, Language, Set, Task

FORMAT = 1
PACKAGES = 16
DEFAULT_TARGETS = 56
LEAST_TARGETS = len(SETS)
# Of all targets: the two sets the gate is decided on get most.
SHARES: dict[Set, int] = {"separate": 6, "same": 5, "edit": 1, "keystroke": 2}
LOADING = "loading"
Half = Literal["both", "first", "second"]


class Bench(Protocol):
    """What a run needs of a model: `Laboratory` is the real one."""

    @property
    def language(self) -> Language:
        """The model's tokenizer and markers."""
        ...

    def measure(self, task: Task, chosen: Sequence[Arm], *, seed: int) -> dict[str, Any]:
        """Measures by arm."""
        ...

    def load_or_recompute(
        self, tokens: Sequence[int], folder: Path, step: Callable[[], None]
    ) -> list[dict[str, Any]]:
        """Rows of `loading.measure`."""
        ...


@dataclass(frozen=True)
class Plan:
    """One run: which model, how much, which arms, which code. `model` is its name, `sha256` its file's.

    `judge` is the arm that decides on the gate; "" chooses one on every other package.
    """

    model: str
    sha256: str
    targets: int = DEFAULT_TARGETS
    seed: int = 1
    arms: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: arms.CORE)
    packages: tuple[Package, ...] = ()
    loading: bool = True
    judge: str = ""

    @property
    def identity(self) -> dict[str, Any]:
        """What must be equal for results to belong together; more targets and arms add to what is there."""
        return {
            "study": "kv-reuse",
            "format": FORMAT,
            "model": self.model,
            "sha256": self.sha256,
            "seed": self.seed,
            "corpus": [f"{one.name} {one.version} {one.digest}" for one in self.packages],
            "library": metadata.version("llama-cpp-python"),
        }


def packages(folders: Sequence[Path], *, seed: int, half: Half = "both") -> tuple[Package, ...]:
    """The folders given, or PACKAGES seeded ones of this environment; every other one of them for a half."""
    if folders:
        found = [corpus.folder(path) for path in folders]
    else:
        found = corpus.choose(corpus.installed(), PACKAGES, seed=seed)
    return tuple(found[{"both": slice(None), "first": slice(0, None, 2), "second": slice(1, None, 2)}[half]])


def targets(plan: Plan, language: Language) -> list[Task]:
    """Every target of the run, the sets and packages taking turns, so that any beginning is a fair sample."""
    wanted = [name for name in SETS if plan.arms.get(name) and (name != "keystroke" or language.family.fim)]
    total = sum(SHARES[name] for name in wanted)
    found: list[tuple[float, str, Task]] = []
    for name in wanted:
        count = max(1, round(plan.targets * SHARES[name] / total))
        made = tasks.collect(plan.packages, language, name=name, count=count, seed=plan.seed)
        found += [((place + 0.5) / len(made), name, task) for place, task in enumerate(made)]
    return [task for _, _, task in sorted(found, key=lambda one: one[:2])]


def run(plan: Plan, bench: Bench, results: Results, *, progress: Progress) -> list[str]:
    """Measure what is not measured yet; a kill loses at most one target. Returns the targets' names."""
    todo = targets(plan, bench.language)
    progress.begin(len(todo) + len(loading.LENGTHS) * plan.loading)
    for task in todo:
        known = (results.get(task.name) or {"arms": {}})["arms"]
        missing = [arm for name in plan.arms[task.set] if (arm := arms.parse(name)).name not in known]
        if missing:
            found = {**bench.measure(task, missing, seed=plan.seed), **known}
            about = {"set": task.set, "package": task.package, "prompt_tokens": task.tokens}
            results.add(task.name, {**about, "arms": found})
        progress.step(task.name, fresh=bool(missing))
    if plan.loading:
        _loading(todo, bench, results, progress)
    return [task.name for task in todo]


def _loading(todo: Sequence[Task], bench: Bench, results: Results, progress: Progress) -> None:
    if LOADING in results:
        for _ in loading.LENGTHS:
            progress.step(LOADING, fresh=False)
        return
    stream = [token for task in todo for document in task.documents for token in document]
    step = lambda: progress.step(LOADING, fresh=True)  # noqa: E731
    rows = bench.load_or_recompute(stream, results.path.parent, step)
    results.add(LOADING, {"rows": rows})


class Progress(Protocol):
    """Hears how far a run is."""

    def begin(self, total: int) -> None:
        """So many pieces there are."""
        ...

    def step(self, what: str, *, fresh: bool) -> None:
        """One piece is done; not `fresh`: it was done by an earlier run."""
        ...


class Laboratory:
    """The real bench: a model file and the patched llama.cpp."""

    def __init__(self, path: Path, *, threads: int = 0) -> None:
        from engine.studies.lab import Lab

        self._lab = Lab(path, context_tokens=loading.LENGTHS[-1] + 256, threads=threads)
        self.threads = self._lab.threads

    @property
    def language(self) -> Language:
        """The model's tokenizer and markers."""
        return self._lab.language

    def measure(self, task: Task, chosen: Sequence[Arm], *, seed: int) -> dict[str, Any]:
        """Measures by arm."""
        from engine.studies.trial import Trial

        return Trial(self._lab, task, seed=seed).run(chosen)

    def load_or_recompute(
        self, tokens: Sequence[int], folder: Path, step: Callable[[], None]
    ) -> list[dict[str, Any]]:
        """Rows of `loading.measure`."""
        return loading.measure(self._lab, tokens, folder, on_step=step)

    def close(self) -> None:
        """Free the model."""
        self._lab.close()


def machine(threads: int) -> dict[str, Any]:
    """What the times depend on."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": threads,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 1),
        "date": time.strftime("%Y-%m-%d"),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
