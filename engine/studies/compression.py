"""`steerway study compression`: what fewer bits and zeros cost, and how much of it comes back."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from engine.compress import export, layers, place, recovery, tokens, work
from engine.compress.layers import Outcome, Recipe
from engine.compress.recover import Recovery
from engine.compress.recovery import Lesson
from engine.formats import FORMATS, Grid
from engine.models import digest, verify
from engine.models.header import Header
from engine.models.rewrite import size_of
from engine.optimise import groups, pace
from engine.optimise.quality import Reference, Sample
from engine.reference import architecture
from engine.reference.source import Source
from engine.runtime import kernels
from engine.runtime.llama import Model
from engine.runtime.threads import default_threads
from engine.studies import lines
from engine.studies.forms import BASELINE, Form
from engine.studies.lines import Line
from engine.studies.progress import Bar, Lines
from engine.studies.results import Results

FORMAT = 3
HELD_OUT_SEQUENCES = 4  # of prose and of code each
LINES = 48
CALIBRATION_TOKENS = 8_192
RECOVER_TOKENS = 65_536
Told = Lines | Bar


@dataclass(frozen=True)
class Plan:
    """One run. `calibration` None is the repository around the current folder."""

    model: str
    sha256: str
    forms: tuple[Form, ...]
    calibration_tokens: int = CALIBRATION_TOKENS
    recover_tokens: int = RECOVER_TOKENS
    lines: int = LINES
    seed: int = 1
    calibration: Path | None = None

    @property
    def identity(self) -> dict[str, Any]:
        """What the results depend on, but for the forms: more may join later."""
        return {
            "format": FORMAT,
            "model": self.model,
            "sha256": self.sha256,
            "seed": self.seed,
            "lines": self.lines,
            "calibration_tokens": self.calibration_tokens,
            "recover_tokens": self.recover_tokens,
            "calibration": str(self.calibration or "repository"),
        }


class Laboratory:
    """Makes a form of a model and measures it. Raises ModelUnsupported, UsageError."""

    def __init__(self, path: Path, plan: Plan, folder: Path) -> None:
        self.threads = default_threads()
        self.kernels = kernels.choose()
        self._path, self._plan, self._folder = path, plan, folder
        self._work = folder / "work"
        self._data = tokens.read(
            path, chosen=plan.calibration, start=Path.cwd(), tokens=plan.calibration_tokens
        )
        self._sample = Sample(*(_rows(part) for part in (self._data.text, self._data.code)))
        self._reference = Reference(path, self._sample, threads=self.threads, skipped=0)
        self._lines = _lines(path, plan)

    def measure(self, form: Form, progress: Told) -> dict[str, Any]:
        """Make the form's file, measure it, delete it."""
        file = self._folder / "form.gguf"
        try:
            made = self._make(form, file, progress)
            return made | self._judged(file if form.name != BASELINE else self._path)
        finally:
            file.unlink(missing_ok=True)

    def _make(self, form: Form, file: Path, progress: Told) -> dict[str, Any]:
        """Seconds, and what the torch forward pass says of it over the same held-out text."""
        if form.name == BASELINE:
            return {"seconds": 0.0, "simulated": None}
        begun = time.monotonic()
        source = Source(self._path)
        grids: dict[str, Grid] = {name: FORMATS[form.kind] for name in source.entries if form.takes(name)}
        head = groups.groups(source.header)[0].tensors[0].name
        if form.head:
            grids[head] = FORMATS[form.head]
        recipe = Recipe(form.method, grids, Recovery() if form.recover == "blocks" else None)
        identity = recipe.identity | {"model": digest.of(self._path), "data": self._data.digest}
        with work.opened(self._work, identity) as kept:
            with progress.within() as inner:
                inner.begin(architecture.of(source).layers)
                outcome = layers.compress(source, self._data, recipe, kept, inner)
            rates = self._distil(source, outcome, kept, progress) if form.recover == "distill" else {}
            export.write(source, file, outcome.changed, {"method": form.method})
        simulated = {kind: quality.as_dict() for kind, quality in outcome.quality.items()}
        seconds = round(time.monotonic() - begun, 1)
        return {"seconds": seconds, "simulated": simulated} | ({"rates": rates} if rates else {})

    def _distil(self, source: Source, outcome: Outcome, kept: work.Work, progress: Told) -> dict[str, float]:
        """Train what was solved, on more of the same text; what the rates were chosen by."""
        where = place.choose("auto", _say)
        found = tokens.training(
            self._path, chosen=self._plan.calibration, start=Path.cwd(), tokens=self._plan.recover_tokens
        )
        training = recovery.planned(self._plan.recover_tokens, positions=found.shape[1])
        lesson = Lesson(found, training, where, progress.within)
        outcome.changed = recovery.distilled(source, outcome.changed, lesson, kept)
        outcome.quality = layers.judge(source, self._data, outcome.changed)
        return recovery.tried(kept)

    def forget(self) -> None:
        """Delete solved layers and checkpoints, which forms share."""
        shutil.rmtree(self._work, ignore_errors=True)

    def _judged(self, file: Path) -> dict[str, Any]:
        found = self._reference.compare(file)
        shipped, own = pace.token_ms([self._path, file], threads=self.threads)
        right = lines.completed(file, self._lines, threads=self.threads)
        return {
            "sizes": sizes(verify.check(file)),
            "quality": asdict(found),
            "token_ms": own,
            "shipped_ms": shipped,
            "lines": right,
        }


def sizes(found: Header) -> dict[str, float]:
    """Bytes of the weights, bytes a token reads, and bits a weight of the linear layers."""
    read = groups.groups(found)
    linear = [tensor for group in read if group.role != groups.HEAD for tensor in group.tensors]
    return {
        "bytes": sum(size_of(tensor) for tensor in found.tensors),
        "read_bytes": sum(size_of(tensor) for group in read for tensor in group.tensors),
        "linear_bits": round(8 * sum(map(size_of, linear)) / sum(tensor.elements for tensor in linear), 3),
    }


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def measure_all(plan: Plan, path: Path, folder: Path, found: Results, progress: Told) -> int:
    """Measure every form that is not done; each is on disk when it is. Returns the threads."""
    progress.begin(len(plan.forms))
    bench: Laboratory | None = None
    for form in plan.forms:
        fresh = form.name not in found
        if fresh:
            bench = bench or Laboratory(path, plan, folder)
            result = bench.measure(form, progress)
            found.add(form.name, {"name": form.name, "form": asdict(form), "family": form.family} | result)
        progress.step(form.name, fresh=fresh)
    if bench is None:
        return default_threads()
    bench.forget()
    return bench.threads


def _rows(part: Any) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(map(int, row)) for row in part[:HELD_OUT_SEQUENCES])


def _lines(path: Path, plan: Plan) -> Sequence[Line]:
    model = Model(path)
    try:
        return lines.choose(model, plan.lines, seed=plan.seed)
    finally:
        model.close()
