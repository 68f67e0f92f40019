"""`steerway study heads`: what each attention head looks at, and which an exact pattern can replace."""

from __future__ import annotations

import hashlib
import json
import random
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import engine
from engine.errors import UsageError
from engine.heads import chosen, experiments, screen, windows
from engine.heads.bench import Bench, Read, Replace
from engine.heads.chosen import Chosen
from engine.heads.experiments import Arm
from engine.heads.trunk import Score, Trunk, threads
from engine.heads.windows import Window
from engine.reference.source import Source
from engine.runtime.llama import Model
from engine.studies.heads_profile import constants
from engine.studies.kv_reuse import Progress
from engine.studies.results import Results

__all__ = ["Found", "Plan", "measure_all", "plan", "threads"]
FINDING = 6
HEADS, TOKENS, WINDOWS = 16, 768, 4
AS_IS = Arm("model", "as it is", ())
_FILE_BYTES = range(1_500, 120_000)
# Released with Python: certainly read by every model. Only screened, for comparison.
_LIBRARY = ("argparse", "configparser", "csv", "shlex", "textwrap", "zipfile", "shutil", "calendar")
# Those of the installation, in which these packages stand side by side.
_HOME = Path(engine.__file__).parents[1]

Texts = list[tuple[str, str]]


@dataclass(frozen=True)
class Plan:
    """One run. `finding`, `judging`, `library`, `renamed`: windows by what they are for."""

    model: str
    sha256: str
    heads: int
    tokens: int
    seed: int
    finding: tuple[Window, ...]
    judging: tuple[Window, ...]
    library: tuple[Window, ...] = ()
    renamed: tuple[Window, ...] = ()

    @property
    def identity(self) -> dict[str, Any]:
        """What results depend on. Windows to judge by are not among it: more of them add to the results."""
        return {
            "study": "heads", "format": 1, "model": self.model, "sha256": self.sha256,
            "heads": self.heads, "tokens": self.tokens, "seed": self.seed,
            "finding": [f"{window.name} {window.digest}" for window in self.finding],
        }  # fmt: skip

    @property
    def digest(self) -> str:
        """8 hex digits over `identity`: a folder for every run that cannot go on with another's results."""
        return hashlib.sha256(json.dumps(self.identity).encode()).hexdigest()[:8]


@dataclass(frozen=True)
class Found:
    """What the report is made of: screens by set, the heads, the arms."""

    screens: dict[str, dict[str, Any]]
    heads: tuple[Chosen, ...]
    arms: tuple[Arm, ...]
    trunk: Trunk


def plan(
    name: str,
    sha256: str,
    path: Path,
    *,
    files: Sequence[Path],
    heads: int,
    tokens: int,
    count: int,
    seed: int,
) -> Plan:
    """Windows of `files`, half to find heads and half to judge by; by default of Steerway's own packages.

    Heads are found in engine/ and judged on journal/ and lsp/. Raises UsageError when there is too little.
    """
    finding, judging, library = _sets(files, seed)
    vocabulary = Model(path)
    try:

        def windows_of(texts: Texts, most: int) -> tuple[Window, ...]:
            return tuple(windows.choose(texts, vocabulary, count=most, tokens=tokens, seed=seed))

        judged = windows_of(judging, count)
        by_name = dict(judging)
        again = [(each.name, windows.renamed(by_name[each.name], vocabulary, seed=seed)) for each in judged]
        made = Plan(
            model=name, sha256=sha256, heads=heads, tokens=tokens, seed=seed,
            finding=windows_of(finding, FINDING), judging=judged,
            library=windows_of(library, FINDING), renamed=windows_of(again, FINDING),
        )  # fmt: skip
    finally:
        vocabulary.close()
    if not made.finding or not made.judging:
        raise UsageError(
            f"no two files hold enough whole functions for {tokens} tokens",
            hint="name more Python files with --files, or fewer --tokens",
        )
    return made


def _sets(files: Sequence[Path], seed: int) -> tuple[Texts, Texts, Texts]:
    """Texts to find heads in, to judge on, and of the standard library."""
    if files:
        texts = list(_texts(files))
        random.Random(f"halves:{seed}").shuffle(texts)
        return texts[::2], texts[1::2], []
    folder = Path(sysconfig.get_paths()["stdlib"])
    return (
        list(_texts([_HOME / "engine"])),
        list(_texts([_HOME / "journal", _HOME / "lsp"])),
        list(_texts([folder / f"{name}.py" for name in _LIBRARY])),
    )


def _texts(places: Sequence[Path]) -> Iterator[tuple[str, str]]:
    """Names, relative to the folder that was given, and texts of Python files."""
    for place in places:
        if not place.exists():
            raise UsageError(
                f"there is no {place}", hint="--files takes Python files and folders", subject=place
            )
        for path in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            try:
                if path.stat().st_size in _FILE_BYTES:
                    yield str(path.relative_to(place.parent)), path.read_text("utf-8").replace("\r\n", "\n")
            except (OSError, UnicodeDecodeError):
                continue  # nothing a study could read


def measure_all(plan: Plan, path: Path, results: Results, progress: Progress) -> Found:
    """Everything that `results` do not have yet, a window and an arm at a time."""
    trunk = Trunk(Source(path), plan.tokens + 1)
    finding = [Read(trunk, window) for window in plan.finding]
    judging = [Read(trunk, window) for window in plan.judging]
    sets = {
        "finding": finding,
        "judging": judging,
        "library": [Read(trunk, window) for window in plan.library],
        "renamed": [Read(trunk, window) for window in plan.renamed],
    }
    progress.begin(sum(map(len, sets.values())))
    screens = {
        name: screen.merged([_screened(trunk, name, read, results, progress) for read in reads])
        for name, reads in sets.items()
    }
    heads = chosen.heads(screens["finding"], plan.heads)
    stages = experiments.arms(screens["finding"], heads, trunk.architecture)
    bench = Bench(trunk, finding)
    if any(key_of(read.window, arm) not in results for arms in stages for arm in arms for read in judging):
        bench.fit(edit for arms in stages for arm in arms for edit in arm.edits)
    stages[0].insert(0, AS_IS)
    progress.begin(sum(map(len, sets.values())) + len(judging) * sum(map(len, stages)))
    for arms, read in product(stages, judging):
        for arm in arms:
            key = key_of(read.window, arm)
            fresh = key not in results
            if fresh:
                results.add(key, _stored(bench.score(read, arm.edits)))
            progress.step(f"{read.window.name}, {arm.name}", fresh=fresh)
    for head in heads:
        if (key := f"constant {head.name}") not in results:
            made = experiments.edits(head, "exact")
            assert isinstance(made, Replace)
            results.add(key, {"size": bench.size(made)})
        if (key := f"given {head.name}") not in results:
            results.add(key, constants(head, bench))
    return Found(screens, tuple(heads), tuple(arm for arms in stages for arm in arms if arm.edits), trunk)


def key_of(window: Window, arm: Arm) -> str:
    """Where an arm's result on a window lies."""
    return f"{window.digest} {arm.name}"


def _screened(trunk: Trunk, name: str, read: Read, results: Results, progress: Progress) -> Any:
    key = f"screen {name} {read.window.digest}"
    fresh = key not in results
    if fresh:
        states = trunk.states(read.window.tokens)  # not kept: they are 60 MB, and a resumed run may need none
        found = screen.window(trunk, states, read.window)
        results.add(key, {metric: [count, means] for metric, (count, means) in found.items()})
    progress.step(f"{read.window.name}, screened ({name})", fresh=fresh)
    return results.get(key)


def _stored(score: Score) -> Mapping[str, Any]:
    return {
        "nll": [round(float(one), 4) for one in score.nll],
        "right": "".join("01"[bool(one)] for one in score.right),
    }
