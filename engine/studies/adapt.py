"""`steerway study adapt`: how much of what injected heads cost comes back when the model is adapted to them.

In three parts, so that never more than two models are in memory: heads are chosen and their constants
fitted, an adapter is trained for each arm, everything is judged.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from engine.compress import adapter, place
from engine.compress.distill import Checkpoint
from engine.compress.network import Place
from engine.compress.work import Work
from engine.errors import UsageError
from engine.heads import adapt, injected
from engine.heads.adapt import Lesson, School
from engine.heads.chosen import Kind
from engine.heads.judging import Judge, Judged, State
from engine.heads.trunk import Trunk, threads
from engine.heads.windows import Window
from engine.reference import architecture
from engine.reference.source import Source
from engine.runtime.llama import Model
from engine.studies import adapt_engine, adapt_heads, heads, lessons
from engine.studies.adapt_heads import Found, How, adapter_of, stored
from engine.studies.kv_reuse import Progress
from engine.studies.results import Results

__all__ = ["ARMS", "KINDS", "Found", "How", "Plan", "measure_all", "parse", "plan", "threads"]

ARMS: tuple[How, ...] = ("exact", "last", "shuffled", "name", "sink")
KINDS: tuple[Kind, ...] = ("definition", "previous", "dormant")
AS_IS = "model: as it is"  # as in the head study
# On how many windows models without some layers are judged, and the engine is.
FEWER, IN_ENGINE = 4, 2
Told = Callable[[], AbstractContextManager[Progress]]


@dataclass(frozen=True)
class Plan:
    """One run: the head study's windows, `kinds` of its heads, and what adapters are trained on."""

    study: heads.Plan
    kinds: tuple[Kind, ...]
    arms: tuple[How, ...]
    rank: int
    tokens: int
    lessons: tuple[Window, ...]
    place: Place

    @property
    def identity(self) -> dict[str, Any]:
        """What results depend on. Arms and windows to judge by are not among it: more add to the results."""
        precision = f"{self.place.device.type} {str(self.place.precision).removeprefix('torch.')}"
        return self.study.identity | {
            "study": "adapt", "kinds": list(self.kinds), "rank": self.rank, "train_tokens": self.tokens,
            "lessons": lessons.digest(self.lessons), "place": precision,
        }  # fmt: skip

    @property
    def digest(self) -> str:
        """8 hex digits over `identity`."""
        return hashlib.sha256(json.dumps(self.identity).encode()).hexdigest()[:8]


def parse(named: str, known: Sequence[str], option: str) -> tuple[Any, ...]:
    """Words of `known` with commas between them. Raises UsageError."""
    words = tuple(dict.fromkeys(word.strip() for word in named.split(",") if word.strip()))
    strange = [word for word in words if word not in known]
    if strange or not words:
        raise UsageError(
            f"{option} {named!r} names {strange[0] if strange else 'nothing'}",
            hint=f"one or more of {', '.join(known)}, with commas between them",
        )
    return words


def plan(
    name: str,
    sha256: str,
    path: Path,
    *,
    files: Sequence[Path],
    heads_: int,
    longest: int,
    windows_: int,
    seed: int,
    kinds: tuple[Kind, ...],
    arms: tuple[How, ...],
    rank: int,
    tokens: int,
    device: str,
    narrate: Callable[[str], None],
) -> Plan:
    """The head study's windows, and those of other files to train on. Raises UsageError for too little."""
    where = place.choose(device, narrate)
    study = heads.plan(
        name, sha256, path, files=files, heads=heads_, tokens=longest, count=windows_, seed=seed
    )
    narrate("chooses windows of other files to train on")
    vocabulary = Model(path)
    try:
        trained = lessons.lessons(files, study.judging, vocabulary, tokens=tokens, longest=longest, seed=seed)
    finally:
        vocabulary.close()
    count = sum(len(window.tokens) for window in trained)
    narrate(f"{count} tokens to train on in {len(trained)} windows, {len(study.judging)} windows to judge by")
    return Plan(study, kinds, arms, rank, tokens, tuple(trained), where)


def measure_all(plan: Plan, path: Path, folder: Path, results: Results, told: Told) -> Found:
    """Everything that `results` and `folder` do not have yet."""
    if not len(results):
        for stale in folder.glob("training-*.pt"):
            stale.unlink()
    found = adapt_heads.fitted(plan, path, results, told)
    missing = [
        how for how in plan.arms
        if f"trained {how}" not in results or not adapter_of(folder, how).exists()
    ]  # fmt: skip
    if missing:
        school = School(Source(path), plan.place, positions=plan.study.tokens + 1)
        for how in missing:
            _train(plan, school, how, path, folder, results, told)
        del school
    for how in plan.arms:
        adapt_heads.write_profile(plan, found, how, folder, results)
    _judge(plan, found, path, folder, results, told)
    _in_engine(plan, path, folder, results, told)
    return found


# Adapters


def _train(
    plan: Plan, school: School, how: How, path: Path, folder: Path, results: Results, told: Told
) -> None:
    edits, constants = stored(results, how)
    training = adapt.plan(plan.lessons, plan.tokens, seed=plan.study.seed)
    work = Work(folder)
    checkpoint = Checkpoint(
        lambda: work.state(f"training-{how}"), lambda state: work.keep(f"training-{how}", state)
    )
    lesson = Lesson(plan.lessons, edits, constants)
    with told() as progress:
        pairs, losses = school.adapter(
            lesson, rank=plan.rank, training=training, checkpoint=checkpoint, progress=progress
        )
    facts = {
        "steerway.adapt.edges": how, "steerway.adapt.tokens": str(plan.tokens),
        "steerway.source.sha256": plan.study.sha256,
    }  # fmt: skip
    adapter.write(adapter_of(folder, how), architecture.of(Source(path)).name, pairs, facts)
    results.add(f"trained {how}", {"kl": [round(loss, 4) for loss in losses]})
    (folder / f"training-{how}.pt").unlink(missing_ok=True)


# Judging


def names_of(how: How) -> tuple[str, str, str]:
    """The arms of one training: heads injected; the model adapted to them; the adapter without them."""
    return f"{how}: injected", f"{how}: adapted", f"{how}: adapter alone"


def without(base: str, layers: Sequence[int]) -> str:
    """The arm `base` with the attention of `layers` replaced by its mean output."""
    return f"{base}, without {' '.join(map(str, layers))}"


def pruned(layers: Sequence[int]) -> list[tuple[int, ...]]:
    """What is left out: each of `layers`, and all of them."""
    return [*((layer,) for layer in layers), tuple(layers)]


def _judge(plan: Plan, found: Found, path: Path, folder: Path, results: Results, told: Told) -> None:
    judge = Judge(Trunk(Source(path), plan.study.tokens + 1))
    states = {AS_IS: State()}
    for how in plan.arms:
        edits, constants = stored(results, how)
        pairs = adapt.read(adapter_of(folder, how))
        made = (State(edits, constants), State(edits, constants, pairs), State(pairs=pairs))
        states |= dict(zip(names_of(how), made, strict=True))
    windows, some = plan.study.judging, plan.study.judging[:FEWER]
    bases = [AS_IS, *(names_of(how)[1] for how in plan.arms)]
    sets = pruned(found.layers)
    with told() as progress:
        progress.begin(len(states) * len(windows) + len(bases) * len(sets) * len(some))
        for name, state in states.items():
            _judge_arm(judge, name, state, windows, results, progress)
        for base in bases:
            means = {}
            if any(
                f"{window.digest} {without(base, left)}" not in results for left in sets for window in some
            ):
                means = judge.means(plan.study.finding, found.layers, states[base])
            for left in sets:
                gone = {layer: means[layer] for layer in left if means}
                _judge_arm(
                    judge, without(base, left), replace(states[base], without=gone), some, results, progress
                )


def _judge_arm(
    judge: Judge, name: str, state: State, windows: Sequence[Window], results: Results, progress: Progress
) -> None:
    for window in windows:
        key = f"{window.digest} {name}"
        if fresh := key not in results:
            results.add(key, _stored(judge.judge(window, state)))
        progress.step(f"{window.name}, {name}", fresh=fresh)


def _stored(judged: Judged) -> dict[str, Any]:
    return {
        "nll": [round(float(one), 4) for one in judged.nll],
        "right": "".join("01"[bool(one)] for one in judged.right),
        "kl": [round(float(one), 5) for one in judged.kl],
    }


# In the engine


def _in_engine(plan: Plan, path: Path, folder: Path, results: Results, told: Told) -> None:
    """The same in llama.cpp, wherever its heads can follow what an arm's heads follow."""
    windows = plan.study.judging[:IN_ENGINE]
    sets: dict[str, adapt_engine.Given | None] = {AS_IS: None}
    for how in plan.arms:
        edits, constants = stored(results, how)
        if (given := injected.given(edits, constants)) is not None:
            edges = {window.digest: injected.edges(window, edits) for window in windows}
            for name, file in zip(names_of(how), (None, adapter_of(folder, how)), strict=False):
                sets[name] = adapt_engine.Given(given, edges, file)
    with told() as progress:
        progress.begin(len(sets) * len(windows))
        for name, given_ in sets.items():
            keys = {window.digest: f"engine {window.digest} {name}" for window in windows}
            fresh = any(key not in results for key in keys.values())
            made = adapt_engine.nll(path, windows, given_) if fresh else {}
            for window in windows:
                if made:
                    results.add(keys[window.digest], {"nll": made[window.digest]})
                progress.step(f"{window.name} in llama.cpp, {name}", fresh=fresh)
