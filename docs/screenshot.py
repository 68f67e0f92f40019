"""The README's picture: the terminal front end on a copy of the example, drawn as SVG.

    python docs/screenshot.py [FILE.svg]

Opens `examples/ledger/refunds.journal.md`, runs its cells, makes the second step the current one. Times and
paths that would differ from run to run are replaced, so the same program draws the same picture.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
SIZE = (124, 42)
CELL_MS = 150


async def until(pilot: Any, condition: Callable[[], object], limit_s: float = 120) -> None:
    end = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > end:
            raise SystemExit("the picture could not be taken: what it should show never came")
        await pilot.pause(0.05)


async def picture(journal: Path) -> str:
    from journal.document import Journal
    from journal.run.trust import Trust
    from journal.session import Session
    from journal.tui.app import SteerwayApp
    from journal.workspace import Workspace

    Trust().remember(Journal.parse(journal.read_bytes()))
    session = Session(journal, Workspace.find(journal))
    app = SteerwayApp(session, still=True)
    screen = app.journal
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: screen.facts.reading)
        await pilot.press("A")
        await until(pilot, lambda: screen.execution.runs and not screen.execution.busy)
        screen.order([session.journal.cell("try-contra")])
        await until(pilot, lambda: _ended(screen.execution.runs.get(session.journal.cell("try-contra").key)))
        step = session.journal.steps[1]
        screen.cells.select_key(step.key)
        await pilot.press("s")
        await until(pilot, lambda: _reads(screen, "corrections"))
        _same_times(screen)
        await until(pilot, lambda: not (screen._searching or screen._waiting or screen._counting))
        screen.cells.select_key(session.journal.cell("try-contra").key)
        screen.cells.changed([cell.key for cell in session.journal.cells])
        await pilot.pause(0.2)
        # The traceback above has paths of this machine in it.
        above = screen.cells.region_of(screen.session.journal.steps[1].index).y - 1
        screen.cells.scroll_relative(y=above, animate=False)
        await pilot.pause(0.2)
        svg = app.export_screenshot(title="steerway refunds.journal.md", simplify=True)
    screen.close()
    return svg


def _ended(run: Any) -> bool:
    return run is not None and run.state == "done"


def _reads(screen: Any, name: str) -> bool:
    reading = screen.facts.reading
    return reading is not None and any(name in entry.document.name for entry in reading.taken.entries)


def _same_times(screen: Any) -> None:
    """Every run took as long as every other, whatever this machine needed."""
    for run in screen.execution.runs.values():
        if run.result is not None:
            run.result = dataclasses.replace(run.result, ms=CELL_MS)


def stable(svg: str) -> str:
    """Without the random name that Rich gives to a picture's styles, and the time that unittest prints."""
    return re.sub(r"terminal-\d+", "terminal", re.sub(r"(?<=in&#160;)0\.\d{3}s", "0.001s", svg))


def main() -> None:
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "images" / "tui.svg"
    with tempfile.TemporaryDirectory() as name:
        os.environ["STEERWAY_HOME"] = str(Path(name) / "home")
        os.environ.setdefault("STEERWAY_MODEL", "fake")
        folder = Path(name) / "ledger"
        ignored = shutil.ignore_patterns(".steerway", "__pycache__", ".git")
        shutil.copytree(ROOT / "examples" / "ledger", folder, ignore=ignored)
        (folder / ".git").mkdir()
        os.chdir(folder)
        svg = stable(asyncio.run(picture(folder / "refunds.journal.md")))
        os.chdir(ROOT)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(svg, encoding="utf-8")
    print(f"wrote {target}")


if __name__ == "__main__":
    main()
