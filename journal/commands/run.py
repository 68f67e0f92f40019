"""`steerway run`: a journal's cells, headless."""

from __future__ import annotations

from pathlib import Path

import click

from journal.commands.common import json_option

_HELP = "Run the cells of a journal in order and stop at the first that fails."


@click.command(help=_HELP + " FILE: the workspace's active journal if left out.")
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option("--cell", "cells", multiple=True, metavar="NAME", help="Only this cell and what it needs.")
@click.option("--step", metavar="ID", help="Only the cells of this step (id, number or title).")
@click.option("--from", "start", metavar="ID", help="From this cell or step on.")
@click.option(
    "--param", "params", multiple=True, metavar="NAME=VALUE", help="A variable that every cell sees."
)
@click.option(
    "--timeout", type=click.FloatRange(min=0, min_open=True), metavar="S", help="Seconds a cell may take."
)
@click.option("--trust", is_flag=True, help="Agree to what the journal runs without being asked.")
@click.option("--keep-going", is_flag=True, help="Go on after a cell that fails.")
@click.option(
    "--pin", "pins", multiple=True, metavar="NAME", help="Write this cell's output beside the journal."
)
@json_option
def run(
    file: Path | None,
    cells: tuple[str, ...],
    step: str | None,
    start: str | None,
    params: tuple[str, ...],
    timeout: float | None,
    trust: bool,
    keep_going: bool,
    pins: tuple[str, ...],
    as_json: bool,
) -> int:
    """Run, and return the exit code: 0 ok, 1 a cell failed, 2 usage, 3 timeout, 4 kernel died."""
    from journal.commands.common import open_journal
    from journal.run.headless import Options, run_journal

    options = Options(
        cells=cells,
        step=step,
        start=start,
        params=params,
        timeout=timeout,
        trust=trust,
        keep_going=keep_going,
        pins=pins,
        as_json=as_json,
    )
    opened = open_journal(file)
    return run_journal(opened.path, opened.journal, opened.workspace, options)
