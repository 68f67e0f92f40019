"""`steerway study adapt`: an adapter for a model whose heads are given."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from engine.studies.commands.options import located, number, out_folder, printed, python_files, resumed


@click.command()
@click.argument("model", required=False)
@click.option(
    "--arms",
    "named",
    metavar="ARMS",
    default="exact,sink",
    show_default=True,
    help="What definition heads follow: exact, last, shuffled, name, sink, with commas between them.",
)
@click.option(
    "--kinds",
    metavar="KINDS",
    default="definition",
    show_default=True,
    help="Which heads are injected: definition, previous, dormant, with commas between them.",
)
@number(
    "--heads",
    "count",
    least=1,
    most=40,
    default=16,
    help="How many heads the head study chooses, of all kinds.",
)
@number("--tokens", least=1, default=65_536, help="How many tokens each adapter is trained on.")
@number("--rank", least=1, most=256, default=16, help="Of the adapters.")
@number("--window", "longest", least=64, most=2048, default=768, help="The longest piece of a file.")
@number(
    "--windows",
    least=1,
    most=100,
    default=8,
    help="How many pieces are judged on; more than before add to the results.",
)
@python_files("Python code to find heads in, train and judge on; Steerway's own by default. May be repeated.")
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="Where to train; a GPU where torch sees one.",
)
@number("--seed", least=0, default=1, help="Chooses pieces.")
@out_folder("Where adapters and results go; a folder of this run's own by default.")
@resumed
@printed
def adapt(
    model: str | None, named: str, kinds: str, count: int, tokens: int, rank: int, longest: int, windows: int,
    files: tuple[Path, ...], device: str, seed: int, out: Path | None, resume: bool, as_json: bool,
) -> None:  # fmt: skip
    """Adapt a model to injected heads, and measure how much of their cost comes back.

    MODEL is a catalogue name or a GGUF file, default the model of the settings. The heads that `study heads`
    chooses are injected while an adapter (LoRA) of all linear layers learns to give the unchanged model's
    distributions again; once for each arm. Judged on other files: heads injected, with the adapter, the
    adapter alone, layers left out, and the same in llama.cpp. Writes GGUF adapters and JSON, prints tables.
    An interrupted run goes on where it stopped. Needs PyTorch.

    \b
    Examples:
      steerway study adapt smollm2-135m
      steerway study adapt smollm2-135m --arms exact,last,sink --tokens 200000 --out adapted
      steerway study adapt --kinds definition,previous,dormant --tokens 5000000 --device cuda
    """
    from engine.compress.options import need_torch
    from engine.models import digest
    from engine.settings import folders
    from engine.studies import results
    from engine.studies.progress import told

    need_torch()
    from engine.studies import adapt as run
    from engine.studies import adapt_report as report

    arms, wanted = run.parse(named, run.ARMS, "--arms"), run.parse(kinds, run.KINDS, "--kinds")
    shown, path = located(model)
    plan = run.plan(
        shown, digest.of(path), path, files=files, heads_=count, longest=longest, windows_=windows, seed=seed,
        kinds=wanted, arms=arms, rank=rank, tokens=tokens, device=device,
        narrate=lambda line: click.echo(line, err=True),
    )  # fmt: skip
    folder = out or folders().state / "studies" / f"adapt-{shown}-{plan.digest}"
    extra = "".join(f" --files {each}" for each in files)
    command = (
        f"steerway study adapt {shown}{extra} --arms {','.join(arms)} --kinds {','.join(wanted)}"
        f" --heads {count} --tokens {tokens} --rank {rank} --window {longest} --windows {windows}"
        f" --seed {seed}"
    )
    with results.opened(folder, plan.identity, fresh=not resume) as done:
        found = run.measure_all(plan, path, folder, done, lambda: told(sys.stderr))
        document = report.document(found, done, plan, threads=run.threads(), command=command)
    written = report.write(document, folder)
    if as_json:
        click.echo(json.dumps(document, indent=2))
    else:
        report.show(document)
        click.echo(str(written))
