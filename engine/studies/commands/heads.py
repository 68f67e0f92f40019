"""`steerway study heads`: what attention heads look at, and what may replace them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from engine.studies.commands.options import located, number, printed, python_files, resumed


@click.command()
@click.argument("model", required=False)
@python_files(
    "Python code to find heads in and to judge on, halved; Steerway's own by default. May be repeated."
)
@number("--tokens", least=64, most=2048, default=768, help="The longest piece of a file.")
@number(
    "--heads",
    "count",
    least=1,
    most=40,
    default=16,
    help="How many heads are replaced, one at a time and together.",
)
@number(
    "--windows",
    least=1,
    most=100,
    default=4,
    help="How many pieces are judged on; more than before add to the results.",
)
@number("--seed", least=0, default=1, help="Chooses pieces and names.")
@click.option(
    "-o",
    "--out",
    metavar="PROFILE.json",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where the profile goes, its figure beside it; a folder of this model's own by default.",
)
@click.option(
    "--refit",
    metavar="PROFILE.json",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Only fit the heads of an earlier profile again, on --windows pieces, for the engine to give.",
)
@resumed
@printed
def heads(
    model: str | None, files: tuple[Path, ...], tokens: int, count: int, windows: int, seed: int,
    out: Path | None, refit: Path | None, resume: bool, as_json: bool,
) -> None:  # fmt: skip
    """Find out what attention heads look at in Python code, and which of them a program could replace.

    MODEL is a catalogue name or a GGUF file, default the model of the settings. Every head is measured; those
    that look at definitions, at the previous token or nowhere are replaced by the exact pattern, by wrong
    ones and by constants, and the change of the predictions is measured on other files. Prints tables, writes
    a profile as JSON and a map of the heads. An interrupted run goes on where it stopped. Needs PyTorch.

    What an engine needs to give these heads (the setting `heads`) is written beside the profile and kept for
    the engine, which takes it in place of the one that came along.

    \b
    Examples:
      steerway study heads smollm2-135m
      steerway study heads --heads 12 --windows 2 -o profile.json
      steerway study heads my.gguf --files ~/src/project --json
      steerway study heads my.gguf --refit profile.json --windows 6
    """
    from engine.compress.options import need_torch
    from engine.models import digest
    from engine.settings import folders
    from engine.studies import results
    from engine.studies.progress import told

    need_torch()
    from engine.studies import heads as run
    from engine.studies import heads_profile as given
    from engine.studies import heads_report as report
    from engine.studies import heads_table as table

    shown, path = located(model)
    if refit is not None:
        with told(sys.stderr) as progress:
            made = given.again(refit, shown, path, files=files, count=windows, progress=progress)
        place = given.keep(made, out)
        click.echo(given.laid_out(made).decode() if as_json else f"{made.why}\n{place}", nl=not as_json)
        return
    plan = run.plan(
        shown, digest.of(path), path, files=files, heads=count, tokens=tokens, count=windows, seed=seed
    )
    folder = folders().state / "studies" / f"heads-{shown}-{plan.digest}"
    profile = out or folder / "profile.json"
    named = "".join(f" --files {each}" for each in files)
    command = f"steerway study heads {shown}{named} --tokens {tokens} --heads {count} --windows {windows}"
    with results.opened(folder, plan.identity, fresh=not resume) as done:
        with told(sys.stderr) as progress:
            found = run.measure_all(plan, path, done, progress)
        document = report.document(
            found, done, plan, threads=run.threads(), command=f"{command} --seed {seed}"
        )
        made = given.profile_of(document, found, done, plan)
    figure = report.write(document, profile)
    kept = [given.keep(made, profile.with_suffix(".heads.json")), given.keep(made)]
    if as_json:
        click.echo(json.dumps(document, indent=2))
    else:
        table.show(document)
        click.echo("\n".join(map(str, (profile, figure, *kept))))
