"""One compression from a model's file to another one: what to do, doing it, and what came of it."""

from __future__ import annotations

import math
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from engine.compress import adapter as adapter_file
from engine.compress import export, judge, layers, place, search, tokens, work
from engine.compress import recovery as whole
from engine.compress.layers import Outcome, Recipe
from engine.compress.options import Options
from engine.compress.quality import Quality
from engine.compress.recover import Recovery
from engine.compress.recovery import Lesson
from engine.compress.tokens import Data
from engine.compress.work import Work
from engine.errors import UsageError
from engine.formats import FORMATS, Grid
from engine.models import digest
from engine.models.quantisation import OWN_KINDS
from engine.reference import architecture
from engine.reference.architecture import LINEARS
from engine.reference.source import Source
from engine.runtime.threads import default_threads
from engine.settings import folders
from engine.studies.progress import told

Narrate = Callable[[str], None]


@dataclass(frozen=True)
class Result:
    """What was written. `engine`: perplexities before and after in llama.cpp by kind of text, if it can.

    `rates`: mean KL on training text held back, by the factor of the learning rates that were tried.
    """

    out: Path
    bytes: int
    bits: float
    bits_before: float
    method: str
    types: dict[str, int]
    quality: dict[str, Quality]
    engine: dict[str, tuple[float, float]] | None
    seconds: float
    unrecovered: dict[str, Quality] | None = None
    adapter: Path | None = None
    rates: dict[str, float] = field(default_factory=dict)

    @property
    def recovered(self) -> dict[str, tuple[float, float]]:
        """By kind: the ratio of perplexities before training, and the share of its logarithm that is gone."""
        found = {}
        for kind, was in (self.unrecovered or {}).items():
            gap, left = math.log(was.ratio), math.log(self.quality[kind].ratio)
            if abs(gap) > 1e-6:
                found[kind] = (was.ratio, 1 - left / gap)
        return found

    @property
    def own_types(self) -> list[str]:
        """Those that only Steerway's llama.cpp knows."""
        return [name for name in self.types if FORMATS[name].kind in OWN_KINDS]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        pairs = (self.engine or {}).items()
        engine = {kind: {"before": before, "after": after} for kind, (before, after) in pairs}
        return {
            "out": str(self.out),
            "bytes": self.bytes,
            "bpw": round(self.bits, 3),
            "bpw_before": round(self.bits_before, 3),
            "method": self.method,
            "types": self.types,
            "perplexity": {kind: quality.as_dict() for kind, quality in self.quality.items()},
            "engine": engine or None,
            "seconds": round(self.seconds, 1),
            **self._training(),
        }

    def _training(self) -> dict[str, Any]:
        if self.unrecovered is None:
            return {}
        found = {
            kind: {"unrecovered": was, "closed": round(closed, 4)}
            for kind, (was, closed) in self.recovered.items()
        }
        adapter = None if self.adapter is None else str(self.adapter)
        return {"recovered": found, "rates": self.rates, "adapter": adapter}


def run(path: Path, out: Path, options: Options, *, narrate: Narrate) -> Result:
    """Compress the model at `path` into `out`. Raises SteerwayError, and leaves nothing half written."""
    started = time.monotonic()
    torch.set_num_threads(default_threads())
    source = Source(path)
    found = architecture.of(source)
    targets = [out, adapter_file.path_beside(out)] if options.recover == "lora" else [out]
    for target in targets:
        export.check_target(target, source)
    grids = _grids(source, found.layers, options, narrate)
    data = tokens.read(path, chosen=options.calibration, start=Path.cwd(), tokens=options.calibration_tokens)
    lesson = _lesson(path, data, options, narrate) if options.trains else None
    recovery = Recovery() if options.recover == "blocks" else None
    needed = layers.memory_bytes(source, data, recovery)
    if lesson is not None:
        needed = max(needed, whole.memory_bytes(source, grids, lesson.place))
    narrate(f"{data.calibration.numel()} tokens to calibrate on; needs about {needed / 1e6:.0f} MB of memory")
    sha256 = digest.of(path)
    with told(sys.stderr) as progress:
        if options.search:
            budget, kept_in = _budget(source, options), _base() / "search"
            grids = search.run(source, data, grids, budget, kept_in, sha256, progress)
            narrate(f"layers in every type are kept in {kept_in} for other budgets; delete it when done")
    recipe = Recipe(options.method, grids, recovery)
    identity = {"source": sha256, "data": data.digest, **recipe.identity}
    with work.opened(_base(), identity) as kept:
        if done := kept.finished:
            narrate(f"goes on where an earlier run stopped: {done} of {found.layers} layers are solved")
        with told(sys.stderr) as progress:
            progress.begin(found.layers)
            outcome = layers.compress(source, data, recipe, kept, progress)
        solved, adapter, rates = outcome.quality, None, {}
        if lesson is not None:
            adapter = _recover(source, data, outcome, lesson, kept, out, options)
            rates = whole.tried(kept)
        export.write(source, out, outcome.changed, _facts(options, data))
        kept.remove()
    return Result(
        out=out,
        bytes=out.stat().st_size,
        bits=_bits(source, grids),
        bits_before=_bits(source, {}),
        method=options.method,
        types=dict(Counter(grid.name for grid in grids.values())),
        quality=outcome.quality,
        engine=judge.perplexities(path, out, data, narrate, adapter=adapter),
        seconds=time.monotonic() - started,
        unrecovered=solved if options.trains else None,
        adapter=adapter,
        rates=rates,
    )


def _lesson(path: Path, data: Data, options: Options, narrate: Narrate) -> Lesson:
    where = place.choose(options.device or "auto", narrate)
    wanted = options.training_tokens
    found = tokens.training(path, chosen=options.calibration, start=Path.cwd(), tokens=wanted)
    training = whole.planned(wanted, positions=found.shape[1])
    seen = training.steps * training.sequences * found.shape[1]
    narrate(f"trains on {seen} tokens, of {found.numel()} that were found")
    return Lesson(found, training, where, lambda: told(sys.stderr))


def _recover(
    source: Source, data: Data, outcome: Outcome, lesson: Lesson, kept: Work, out: Path, options: Options
) -> Path | None:
    """Train what was solved; `outcome` becomes what came of it. The adapter's file, when there is one."""
    if options.recover == "distill":
        outcome.changed = whole.distilled(source, outcome.changed, lesson, kept)
        outcome.quality = layers.judge(source, data, outcome.changed)
        return None
    pairs = whole.adapted(source, outcome.changed, lesson, kept, rank=options.lora_rank)
    outcome.quality = layers.judge(source, data, outcome.changed, pairs)
    path = adapter_file.path_beside(out)
    facts = {f"{export.PREFIX}{key}": str(value) for key, value in _facts(options, data).items()}
    adapter_file.write(path, architecture.of(source).name, pairs, facts)
    return path


def _grids(source: Source, count: int, options: Options, narrate: Narrate) -> dict[str, Grid]:
    """The tensors to compress: linear layers of the chosen blocks whose rows are whole blocks of the type."""
    first, last = options.layers or (0, count - 1)
    if last >= count:
        raise UsageError(f"there is no block {last}", hint=f"the model has blocks 0 to {count - 1}")
    grid = FORMATS[options.kind]
    names = [f"blk.{layer}.{name}.weight" for layer in range(first, last + 1) for name in LINEARS]
    fitting = [name for name in names if grid.fits(source.shape(name)[1])]
    if not fitting:
        columns = source.shape(names[0])[1]
        raise UsageError(
            f"no layer can be {grid.name}", hint=f"rows of {columns} are not a multiple of {grid.block}"
        )
    if len(fitting) < len(names):
        narrate(f"{len(names) - len(fitting)} layers stay: their rows are not a multiple of {grid.block}")
    return dict.fromkeys(fitting, grid)


def _budget(source: Source, options: Options) -> int:
    """Bytes that the tensors may take."""
    elements = sum(entry.elements for entry in source.entries.values())
    if options.bits is not None:
        return int(elements * options.bits / 8)
    assert options.budget_bytes is not None
    # Beside the weights: the header, tensors' padding, and what is added to the header.
    return options.budget_bytes - source.header.data_offset - 32 * len(source.entries) - 1024


def _bits(source: Source, grids: Mapping[str, Grid]) -> float:
    elements = sum(entry.elements for entry in source.entries.values())
    return export.data_bytes(source, grids) * 8 / elements


def _facts(options: Options, data: Data) -> dict[str, str | int | float]:
    return {
        "method": options.method,
        "type": "mixed" if options.search else options.kind,
        "recover": options.recover,
        "calibration_tokens": data.calibration.numel(),
        **({"recover_tokens": options.training_tokens} if options.trains else {}),
    }


def _base() -> Path:
    return folders().state / "compress"
