"""Pictures of the terminal front end; `pytest --snapshot-update` takes them anew after a wanted change."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from journal.run.result import Output, Result
from journal.session.execution import CellRun
from journal.tui.app import SteerwayApp
from tests.journal.tui_person import make_app

LEDGER = Path(__file__).parent.parent.parent / "examples" / "ledger"
PRINTED = (
    "\x1b[32mok\x1b[0m   test_a_sale_is_entered\n\x1b[31mFAIL\x1b[0m test_a_refund_takes_the_sale_back\n"
)
CONFLICTED = """<!-- journal:{"id":"s001","kind":"step","state":"done"} -->
## Notes of all kinds

# A heading

A paragraph with *emphasis*, **weight**, `code` and a [link](https://example.org).

- one
- two
  1. inside

> quoted words

| name | cents |
|---|---|
| mugs | 1250 |

<<<<<<< ours
```sh {"id":"c001"}
echo ours
```
=======
```sh {"id":"c001"}
echo theirs
```
>>>>>>> theirs

<!-- journal:{"id":"d001","kind":"doc","src":"docs/gone.md"} -->
[A page that is gone](docs/gone.md)

<!-- journal:{"kind":"chart"} -->
"""


@pytest.fixture
def ledger(tmp_path: Path, isolated_home: Path) -> Path:
    folder = tmp_path / "ledger"
    shutil.copytree(LEDGER, folder, ignore=shutil.ignore_patterns(".steerway", "__pycache__"))
    (folder / ".git").mkdir()
    (folder / "notes.journal.md").write_text(CONFLICTED)
    return folder


@pytest.fixture
def apps() -> Iterator[list[SteerwayApp]]:
    """Programs to let go of when the test is over."""
    opened: list[SteerwayApp] = []
    yield opened
    for app in opened:
        app.journal.close()


def ran(app: SteerwayApp, name: str) -> None:
    """As if the cell had run, in a time that is always the same."""
    cell = app.journal.session.journal.cell(name)
    run = CellRun("done", cell.text)
    run.lines.take(Output(cell, PRINTED))
    run.result = Result(cell.key, cell.kind, 1, 1_234, "")
    app.journal.execution.runs[cell.key] = run


async def known(pilot: Pilot[Any]) -> None:
    """Wait until what is found out in the background is on the screen."""
    screen = pilot.app.journal  # type: ignore[attr-defined]
    end = time.monotonic() + 30
    while screen.facts.reading is None or not screen.facts.resolved:
        assert time.monotonic() < end
        await pilot.pause(0.02)
    while screen._searching or screen._waiting or screen._counting:
        assert time.monotonic() < end
        await pilot.pause(0.02)
    ids = [cell.id for cell in screen.session.journal.cells]
    if "r5q8" in ids:
        ran(pilot.app, "r5q8")  # type: ignore[arg-type]
    screen.cells.changed(["r5q8"])
    screen.show_steps()
    await pilot.pause()


def test_a_journal_in_the_dark(snap_compare: Any, ledger: Path, apps: list[SteerwayApp]) -> None:
    apps.append(make_app(ledger / "refunds.journal.md"))
    assert snap_compare(apps[0], terminal_size=(120, 40), run_before=known)


def test_a_journal_in_the_light_on_a_small_screen(
    snap_compare: Any, ledger: Path, apps: list[SteerwayApp]
) -> None:
    apps.append(make_app(ledger / "month-end.journal.md", theme="steerway-light"))
    assert snap_compare(apps[0], terminal_size=(80, 24), run_before=known)


def test_notes_conflicts_and_problems(snap_compare: Any, ledger: Path, apps: list[SteerwayApp]) -> None:
    apps.append(make_app(ledger / "notes.journal.md"))
    assert snap_compare(apps[0], terminal_size=(120, 44), run_before=known)


def test_editing_on_a_wide_screen(snap_compare: Any, ledger: Path, apps: list[SteerwayApp]) -> None:
    async def edit(pilot: Pilot[Any]) -> None:
        await known(pilot)
        await pilot.press("right_square_bracket", "j", "j", "j", "j", "enter")
        await pilot.pause()

    apps.append(make_app(ledger / "refunds.journal.md"))
    assert snap_compare(apps[0], terminal_size=(200, 60), run_before=edit)
