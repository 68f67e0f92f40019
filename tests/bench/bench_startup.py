"""What starting the program costs, beside starting Python alone.

    python tests/bench/bench_startup.py [--json]

Interleaved runs of whole processes; ratios are of medians. The floor is an interpreter that imports nothing.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

RUNS = 15
STEERWAY = str(Path(sys.executable).with_name("steerway"))
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "steerway --version": [STEERWAY, "--version"],
    "steerway --help": [STEERWAY, "--help"],
    "steerway status": [STEERWAY, "status"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(RUNS):
        for name, command in COMMANDS.items():
            started = time.perf_counter()
            subprocess.run(command, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL, check=True)
            times[name].append((time.perf_counter() - started) * 1000)
    floor = statistics.median(times["python -c pass"])
    rows = [
        {
            "command": name,
            "median_ms": round(statistics.median(values), 1),
            "min_ms": round(min(values), 1),
            "max_ms": round(max(values), 1),
            "ratio": round(statistics.median(values) / floor, 2),
        }
        for name, values in times.items()
    ]
    if arguments.json:
        print(json.dumps(rows))
        return
    for row in rows:
        print(
            f"{row['command']:22} median {row['median_ms']:7.1f} ms  ({row['min_ms']}-{row['max_ms']})  "
            f"{row['ratio']:5.2f} x python"
        )


if __name__ == "__main__":
    main()
