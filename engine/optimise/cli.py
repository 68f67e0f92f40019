"""`steerway model optimise`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from engine.models.progress import Progress
    from engine.optimise.optimise import Outcome


@click.command()
@click.argument("name", metavar="NAME|PATH", required=False)
@click.option("-o", "--output", metavar="FILE", help="Write the file here instead of using it from now on.")
@click.option(
    "--loss",
    type=click.FloatRange(0, 100),
    default=3.0,
    show_default=True,
    metavar="PERCENT",
    help="How much perplexity may rise, on prose and on code.",
)
@click.option("--quick", is_flag=True, help="Try only the mix known to be good for the model; no search.")
@click.option("--undo", is_flag=True, help="Delete the optimised file and use the shipped one again.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")
def optimise(
    name: str | None, output: str | None, loss: float, quick: bool, undo: bool, as_json: bool
) -> None:
    """Make a model faster on this machine, as far as its answers stay what they are.

    Measures how fast this processor is with each type of weights, and how much each part of the model bears;
    chooses a mix, checks it against the shipped file on text and code, and uses it from then on. The shipped
    file stays. A few minutes on 2 cores; what an interrupted run measured is kept.

    \b
    Examples:
      steerway model optimise
      steerway model optimise --loss 1
      steerway model optimise smollm2-135m -o small.gguf
      steerway model optimise --undo
    """
    from engine.models import provision, variants
    from engine.models.progress import megabytes, narrate

    name = name or _configured()
    source = provision.locate(name)
    if undo:
        freed = variants.forget(source)
        click.echo(f"{name}: {megabytes(freed)} freed" if freed else f"{name}: nothing to delete")
        return
    from engine.models.quantisation import BLOCKS
    from engine.optimise.optimise import KINDS, Optimiser, details, install, made_with
    from engine.runtime import extension, kernels

    kernels.choose()
    target = Path(output).expanduser().absolute() if output else variants.file_of(source)
    with narrate() as progress:
        hint = _hint(name) if quick else None
        if quick and not extension.kernels():
            progress.note(f"{name} stays as it is: no kernels of ours for this processor")
            return
        if quick and not hint:
            progress.note(f"{name}: no mix is known for it; without --quick one is searched for")
            return
        if quick and (known := variants.record_of(source)) and known.build == made_with():
            progress.note(f"{name}: {known.reason}")
            return
        kinds = [kind for kind in KINDS if hint is None or BLOCKS[kind][0] in hint.values()]
        outcome = Optimiser(source, _Pieces(progress), kinds=kinds).run(target, loss=loss, hint=hint)
    if not output:
        install(outcome)
    if as_json:
        found = {"name": name, "file": str(outcome.file), "types": outcome.mix, "reason": outcome.reason}
        click.echo(json.dumps(found | details(outcome), indent=2))
    else:
        _show(outcome)


class _Pieces:
    """Progress of a search: a line every few pieces."""

    def __init__(self, out: Progress) -> None:
        self._out = out
        self._last = 0

    def note(self, line: str) -> None:
        """Pass it on."""
        self._out.note(line)

    def advance(self, done: int, total: int) -> None:
        """A line when another tenth is done."""
        tenth = 10 * done // total
        if tenth > self._last:
            self._last = tenth
            self.note(f"  {done} of {total}")


def _configured() -> str:
    from engine.cli import configured

    return configured()


def _hint(name: str) -> dict[str, str]:
    from engine.models import catalogue

    return {} if catalogue.is_path(name) else dict(catalogue.lookup(name).mix)


def _show(outcome: Outcome) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    table = Table(box=None, pad_edge=False, header_style="bold")
    kinds = list(dict.fromkeys(kind for row in outcome.costs.values() for kind in row))
    for column in ("part", *kinds, "chosen"):
        table.add_column(column, justify="left" if column in ("part", "chosen") else "right")
    for group, row in outcome.costs.items():
        cells = [f"{row[kind]:.1f}" if kind in row else "" for kind in kinds]
        table.add_row(group, *cells, outcome.mix.get(group, ""))
    console.print("nanoseconds per 1,000 weights and token, this machine", style="dim")
    console.print(table)
    if outcome.mix:
        console.print(
            f"{outcome.reason}: {outcome.shipped_ms:.1f} ms a token becomes {outcome.chosen_ms:.1f}"
        )
        console.print(str(outcome.file), style="dim")
    else:
        console.print(f"the shipped file stays: {outcome.reason}")
