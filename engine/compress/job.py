"""One compression from a model's file to another one: what to do, doing it, and what came of it."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from engine.compress import export, judge, layers, search, tokens, work
from engine.compress.layers import Recipe
from engine.compress.options import Options
from engine.compress.quality import Quality
from engine.compress.recover import Recovery
from engine.compress.tokens import Data
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
    """What was written. `engine`: perplexities before and after in llama.cpp by kind of text, if it can."""

    out: Path
    bytes: int
    bits: float
    bits_before: float
    method: str
    types: dict[str, int]
    quality: dict[str, Quality]
    engine: dict[str, tuple[float, float]] | None
    seconds: float

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
        }


def run(path: Path, out: Path, options: Options, *, narrate: Narrate) -> Result:
    """Compress the model at `path` into `out`. Raises SteerwayError, and leaves nothing half written."""
    started = time.monotonic()
    torch.set_num_threads(default_threads())
    source = Source(path)
    found = architecture.of(source)
    export.check_target(out, source)
    grids = _grids(source, found.layers, options, narrate)
    data = tokens.read(path, chosen=options.calibration, start=Path.cwd(), tokens=options.calibration_tokens)
    recovery = Recovery() if options.recover == "blocks" else None
    needed = layers.memory_bytes(source, data, recovery) / 1e6
    narrate(f"{data.calibration.numel()} tokens to calibrate on; needs about {needed:.0f} MB of memory")
    sha256 = digest.of(path)
    with told(sys.stderr) as progress:
        if options.search:
            budget, kept_in = _budget(source, options), _base() / "search"
            grids = search.run(source, data, grids, budget, kept_in, sha256, progress)
            narrate(f"layers in every type are kept in {kept_in} for other budgets; delete it when done")
        recipe = Recipe(options.method, grids, recovery)
        identity = {"source": sha256, "data": data.digest, **recipe.identity}
        with work.opened(_base(), identity) as kept:
            progress.begin(found.layers)
            outcome = layers.compress(source, data, recipe, kept, progress)
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
        engine=judge.perplexities(path, out, data, narrate),
        seconds=time.monotonic() - started,
    )


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
    }


def _base() -> Path:
    return folders().state / "compress"
