"""Numbers of a head-to-head: spreads over rounds, ratios in one run, the machine, and the file they go to."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import statistics
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "docs" / "results"
Json = dict[str, object]


def spread(values: Iterable[float], digits: int = 1) -> Json:
    """Median, least, largest and count of `values`."""
    found = sorted(values)
    if not found:
        return {"n": 0}
    return {
        "median": round(statistics.median(found), digits),
        "min": round(found[0], digits),
        "max": round(found[-1], digits),
        "n": len(found),
    }


def ratios(theirs: Sequence[float], ours: Sequence[float]) -> Json:
    """Spread of `theirs / ours`, pair by pair: both of a pair ran one after the other."""
    return spread([their / our for their, our in zip(theirs, ours, strict=True)], 2)


def slope(xs: Sequence[float], ys: Sequence[float]) -> float:
    """Least-squares slope of `ys` over `xs`."""
    return statistics.linear_regression(xs, ys).slope


def machine() -> Json:
    """What a reader needs to judge absolute times."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
        "load_before": [round(load, 2) for load in os.getloadavg()],
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def parser(doc: str | None, *, rounds: int | None = None) -> argparse.ArgumentParser:
    """The options every head-to-head has."""
    found = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    found.add_argument("--model", default="", help="a catalogue name or a GGUF file")
    if rounds is not None:
        found.add_argument("--rounds", type=int, default=rounds)
    found.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    found.add_argument("--json", type=Path, help="where the result goes, beside being printed")
    return found


def publish(result: Json, options: argparse.Namespace, *, load: Json) -> None:
    """Print `result` and write it to `--json`, with the machine, the day and the command."""
    script = Path(sys.argv[0]).name
    arguments = [Path(word).name if Path(word).is_absolute() else word for word in sys.argv[1:]]
    whole = {
        "command": shlex.join(["python", f"tests/bench/{script}", *arguments]),
        "date": datetime.now(UTC).date().isoformat(),
        "machine": load,
        **result,
    }
    text = json.dumps(whole, indent=1)
    print(text)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(text + "\n", "utf-8")


def say(text: str) -> None:
    """Progress, on stderr."""
    print(text, file=sys.stderr, flush=True)
