"""`steerway study compression`: fewer bits and zeros, and what comes back."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from engine.studies.commands.options import located, number, out_folder, printed, resumed


@click.command()
@click.argument("model", required=False)
@click.option(
    "--forms",
    "named",
    metavar="FORMS",
    default="all",
    show_default=True,
    help="Which forms of the model to compare, with semicolons between them.",
)
@click.option(
    "--calibration",
    metavar="FILE|DIR",
    type=click.Path(path_type=Path),
    help="Text to calibrate on; the repository around this folder by default.",
)
@number("--calibration-tokens", least=1024, default=8192, help="How much of it.")
@number("--recover-tokens", least=1024, default=65_536, help="How much text recovery trains on.")
@number("--lines", least=4, most=2000, default=48, help="How many lines of code are completed.")
@number("--seed", least=0, default=1, help="Chooses lines.")
@out_folder("Where results go; a folder of this model's own by default.")
@resumed
@printed
def compression(
    model: str | None, named: str, calibration: Path | None, calibration_tokens: int, recover_tokens: int,
    lines: int, seed: int, out: Path | None, resume: bool, as_json: bool,
) -> None:  # fmt: skip
    """Compare forms of a model: fewer bits, 2:4 zeros, by several methods, with and without recovery.

    MODEL is a catalogue name or a GGUF file, default the model of the settings. Each form is made, run in the
    engine over text and code it was not calibrated on, timed in turn with the shipped file, and deleted.
    Prints a table, writes JSON and a figure of bytes against perplexity. An interrupted run goes on where it
    stopped. Needs PyTorch.

    \b
    Examples:
      steerway study compression smollm2-135m
      steerway study compression --forms "i3_0 gptq; s24_0 sparsegpt; s24_0 sparsegpt, distilled"
      steerway study compression my.gguf --calibration ~/src/project --out results
    """
    from engine.compress.options import need_torch
    from engine.models import digest
    from engine.settings import folders
    from engine.studies import forms, results

    need_torch()
    from engine.studies import compression as run
    from engine.studies import compression_report as report
    from engine.studies.progress import told

    shown, path = located(model)
    plan = run.Plan(
        model=shown, sha256=digest.of(path), forms=tuple(forms.chosen(named)), lines=lines, seed=seed,
        calibration_tokens=calibration_tokens, recover_tokens=recover_tokens,
        calibration=calibration.absolute() if calibration else None,
    )  # fmt: skip
    folder = out or folders().state / "studies" / f"compression-{shown}-{seed}"
    command = (
        f"steerway study compression {shown} --calibration-tokens {calibration_tokens} "
        f"--recover-tokens {recover_tokens} --lines {lines}"
    )
    if named != "all":
        command += f' --forms "{named}"'
    with results.opened(folder, plan.identity, fresh=not resume) as found:
        with told(sys.stderr) as progress:
            threads = run.measure_all(plan, path, folder, found, progress)
        document = report.document(found, plan, threads=threads, command=command)
    report.write(document, folder)
    if as_json:
        click.echo(json.dumps(document, indent=2))
    else:
        report.show(document)
        click.echo(str(folder / "compression.svg"))
