"""What masking secrets in the edited file costs a keystroke, and how often it masks what is none.

python tests/bench/bench_privacy.py [FILE] [--lines 3000] [--count FOLDER]

FILE is typed into at its middle (default: Python's own typing module). Prints milliseconds: the first look,
then the median and the 95th percentile of 200 keystrokes. `--count` prints every line of the Python files
under FOLDER that would be masked, and their number. No threshold.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import typing
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from engine.privacy.strings import around, without_secrets

TYPED = "value = compute(something, of_many, words)"
KEYSTROKES = 200


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", nargs="?", type=Path, default=Path(typing.__file__))
    parser.add_argument("--lines", type=int, default=3000)
    parser.add_argument("--count", type=Path, metavar="FOLDER")
    options = parser.parse_args()
    if options.count is not None:
        count(options.count)
    else:
        measure(options.file.read_text(encoding="utf-8").split("\n")[: options.lines])


def measure(lines: list[str]) -> None:
    middle = len(lines) // 2
    above, below = "\n".join(lines[:middle]) + "\n", "\n" + "\n".join(lines[middle:])
    first = milliseconds(above, below)
    typed = [milliseconds(above + TYPED[: i % len(TYPED)], below) for i in range(KEYSTROKES)]
    p50, p95 = statistics.median(typed), statistics.quantiles(typed, n=20)[-1]
    print(f"{len(lines)} lines, {len(above + below):,} characters")
    print(f"first {first:.1f} ms, then p50 {p50:.2f} ms, p95 {p95:.2f} ms")


def milliseconds(prefix: str, suffix: str) -> float:
    start = time.perf_counter()
    around(prefix, suffix, "python")
    return (time.perf_counter() - start) * 1000


def count(folder: Path) -> None:
    lines = masked = 0
    for path in sorted(folder.rglob("*.py")):
        text = path.read_text(encoding="utf-8", errors="replace")
        clean, found = without_secrets(text, "python")
        lines, masked = lines + text.count("\n"), masked + found
        changed = set(clean.split("\n")) - set(text.split("\n")) if found else set()
        for line in sorted(changed):
            print(f"{path.relative_to(folder)}: {line.strip()[:100]}")
    print(f"{masked} values masked in {lines:,} lines")


if __name__ == "__main__":
    main()
