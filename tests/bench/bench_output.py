"""How fast a cell's output goes from its terminal to the view and to disk.

Run: `python tests/bench/bench_output.py [MB]`. Prints MB/s for the cleaner alone and for a shell cell end
to end (terminal, cleaner, redaction, spool), whether the tail is exact, and memory.
"""

from __future__ import annotations

import os
import resource
import sys
import tempfile
import time
from pathlib import Path

from journal.document import Journal
from journal.run.result import Output
from journal.run.runner import Runner
from journal.run.terminal import Cleaner
from journal.workspace import Workspace

_PIECE = 1 << 16


def cleaner_rate(sample: bytes, megabytes: int) -> float:
    """MB/s of the cleaner alone on repeated `sample`."""
    piece = sample * max(1, _PIECE // len(sample))
    cleaner, rounds = Cleaner(), max(1, megabytes * 1_000_000 // len(piece))
    started = time.perf_counter()
    for _ in range(rounds):
        cleaner.feed(piece)
    return rounds * len(piece) / 1e6 / (time.perf_counter() - started)


def raw_rate(path: Path) -> float:
    """MB/s of `cat` on a terminal that is read and thrown away: the ceiling."""
    from journal.run.shell import Shell

    shell = Shell("bash", cwd=path.parent)
    count = 0

    def on_bytes(data: bytes) -> None:
        nonlocal count
        count += len(data)

    shell.run("true", on_bytes=on_bytes)
    started = time.perf_counter()
    shell.run(f"cat {path}", on_bytes=on_bytes)
    seconds = time.perf_counter() - started
    shell.close()
    return count / 1e6 / seconds


def cell_rate(path: Path, folder: Path) -> tuple[float, float, bool, float]:
    """MB/s of a cell that prints the file, MB per second of our CPU, whether the tail is exact, added MB."""
    size = path.stat().st_size
    journal = Journal.parse(f'```sh {{"id":"cat1"}}\ncat {path}\n```\n'.encode())
    last: list[str] = []

    def on_event(event: object) -> None:
        if isinstance(event, Output):
            last.append(event.text)
            del last[:-3]

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with Runner(folder / "bench.journal.md", Workspace(folder), on_event=on_event) as runner:
        runner.backends.shell().start()
        started, used = time.perf_counter(), time.process_time()
        result = runner.run_cell(journal.cells[0])
        seconds, used = time.perf_counter() - started, time.process_time() - used
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    with path.open("rb") as file:
        file.seek(-2000, os.SEEK_END)
        tail = file.read().decode()
    assert result.spool is not None
    exact = result.output.endswith(tail) and result.spool.stat().st_size == size
    return size / 1e6 / seconds, size / 1e6 / used, exact and "".join(last).endswith(tail[-200:]), grown


def main() -> None:
    """Print the table."""
    megabytes = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    samples = {
        "plain text": b"tests/test_up.py::test_send[503] PASSED                    [ 12%]\r\n",
        "utf-8": "größer 日本語 naïve ✓ done, next line\r\n".encode(),
        "colours": b"\x1b[32mPASSED\x1b[0m tests/test_up.py::\x1b[1mtest_send\x1b[0m\r\n",
        "progress bars": b"\rDownloading 45%|#########           | 45/100 [00:12<00:14]",
        "erasing progress": b"\r\x1b[2K\x1b[32mBuilding\x1b[0m 45/100",
        "cursor addressing": b"\x1b[2A\x1b[2Kone 45%\r\n\x1b[2Ktwo 50%\r\n",
    }
    for name, sample in samples.items():
        amount = 1 if name == "cursor addressing" else 4 if name == "erasing progress" else megabytes
        print(f"cleaner, {name:<20} {cleaner_rate(sample, amount):8.1f} MB/s")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["STEERWAY_HOME"] = str(folder / "home")
        file = folder / "plain"
        count = megabytes * 1_000_000 // 66
        with file.open("w") as lines:
            lines.writelines(f"{n:>10} " + "x" * 54 + "\n" for n in range(count))
        print(f"terminal only                 {raw_rate(file):8.1f} MB/s")
        rate, own, exact, grown = cell_rate(file, folder)
        print(f"cell, end to end              {rate:8.1f} MB/s   ({own:.1f} MB a second of our own CPU)")
        print(f"tail exact: {exact}   memory: +{grown:.0f} MB")


if __name__ == "__main__":
    main()
