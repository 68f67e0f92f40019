"""The terminal front end beside a bare Textual program, both in a PTY of 120x40.

    python tests/bench/bench_tui.py [--rounds 5]

First paint: from the start of the process to the first screen that shows what was opened. Key: from writing
a key to the last byte of the screen it changes (p50 and p95 over 60 keys). Memory: resident, after that.
"""

from __future__ import annotations

import argparse
import os
import select
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from ptyprocess import PtyProcess

KEYS = 60
QUIET_SECONDS = 0.03
BARE = """
from textual.app import App
from textual.widgets import OptionList
class Bare(App):
    def compose(self):
        yield OptionList(*[f"bench cell {n}" for n in range(40)])
Bare().run()
"""


@dataclass(frozen=True)
class Figures:
    first_paint_s: float
    key_p50_ms: float
    key_p95_ms: float
    resident_mb: float


def journal(cells: int) -> str:
    parts = ["---\njournal: 1\ntitle: bench\n---\n"]
    for number in range(cells):
        if number % 20 == 0:
            step = f'<!-- journal:{{"id":"s{number:04}","kind":"step"}} -->\n## bench step {number}\n'
            parts.append(step)
        elif number % 3 == 0:
            note = f'<!-- journal:{{"id":"n{number:04}","kind":"note"}} -->\n'
            parts.append(f"{note}Some *note*, number {number}, with `code` in it and a few more words.\n")
        else:
            code = "for name in a b c; do\n    echo $name\ndone"
            parts.append(f'```sh {{"id":"c{number:04}","name":"cell{number}"}}\n{code}\n```\n')
    return "\n".join(parts)


class Terminal:
    """A program in a PTY, its output thrown away but for when it came."""

    def __init__(self, command: list[str], folder: Path) -> None:
        home = folder / "home"
        environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
        environment |= {"STEERWAY_HOME": str(home), "STEERWAY_MODELS": "", "STEERWAY_MODEL": "fake"}
        self.started = time.perf_counter()
        self.process = PtyProcess.spawn(command, cwd=str(folder), env=environment, dimensions=(40, 120))

    def until(self, text: bytes, limit_s: float = 30) -> float:
        """Seconds from the start until `text` has been written."""
        seen, end = b"", time.perf_counter() + limit_s
        while time.perf_counter() < end:
            seen = seen[-200:] + self._read(0.5)
            if text in seen:
                return time.perf_counter() - self.started
        raise SystemExit(f"{text!r} never came")

    def settle(self, quiet_s: float) -> float:
        """Read until nothing comes for `quiet_s`; when the last byte came."""
        last = time.perf_counter()
        while self._read(quiet_s):
            last = time.perf_counter()
        return last

    def _read(self, wait_s: float) -> bytes:
        ready, _, _ = select.select([self.process.fd], [], [], wait_s)
        try:
            return os.read(self.process.fd, 1 << 16) if ready else b""
        except OSError:
            return b""

    def key_ms(self, key: bytes) -> float:
        """Milliseconds from a key to the last byte of what it changed."""
        begin = time.perf_counter()
        self.process.write(key)
        if not self._read(2):
            return 2_000.0
        return (self.settle(QUIET_SECONDS) - begin) * 1_000

    def resident_mb(self) -> float:
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024
        return 0.0

    def close(self) -> None:
        self.process.terminate(force=True)


def measure(command: list[str], folder: Path, *, shows: bytes, keys: bytes, rounds: int) -> Figures:
    paints, times, resident = [], [], 0.0
    for _ in range(rounds):
        terminal = Terminal(command, folder)
        paints.append(terminal.until(shows))
        terminal.settle(1.5)
        times += [terminal.key_ms(keys) for _ in range(KEYS)]
        resident = terminal.resident_mb()
        terminal.close()
    times.sort()
    p95 = times[int(len(times) * 0.95) - 1]
    return Figures(statistics.median(paints), statistics.median(times), p95, resident)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    steerway = str(Path(sys.executable).with_name("steerway"))
    print(f"{'':<24}{'first paint':>13}{'key p50':>11}{'key p95':>11}{'resident':>11}{'paint ratio':>13}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bare = measure(
            [sys.executable, "-c", BARE], folder, shows=b"bench cell", keys=b"\x1b[B", rounds=rounds
        )
        rows = [("bare Textual", bare)]
        for cells in (10, 1_000):
            path = folder / f"{cells}.journal.md"
            path.write_text(journal(cells))
            figures = measure([steerway, path.name], folder, shows=b"bench step", keys=b"j", rounds=rounds)
            rows.append((f"steerway, {cells:,} cells", figures))
    for label, one in rows:
        print(
            f"{label:<24}{one.first_paint_s:>11.2f} s{one.key_p50_ms:>8.0f} ms{one.key_p95_ms:>8.0f} ms"
            f"{one.resident_mb:>8.0f} MB{one.first_paint_s / bare.first_paint_s:>12.2f}x"
        )


if __name__ == "__main__":
    main()
