"""`steerway study kv-reuse`: documents encoded one by one against full attention."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.studies.commands.options import located, number, out_folder, printed, resumed

if TYPE_CHECKING:
    from engine.studies.kv_reuse import Plan


@click.command("kv-reuse")
@click.argument("model", required=False)
@number("--targets", least=4, most=2000, help="How many places are completed; 56.")
@click.option(
    "--arms",
    "named",
    metavar="ARMS",
    default="core",
    show_default=True,
    help="core, all, or ways to put a prompt together, with commas between them.",
)
@number("--seed", least=0, default=1, help="Chooses packages, places and bootstrap samples.")
@click.option(
    "--corpus",
    metavar="FOLDER",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Python code to measure on, instead of installed packages. May be repeated.",
)
@click.option(
    "--half",
    type=click.Choice(["both", "first", "second"]),
    default="both",
    show_default=True,
    help="Only every other package: one half to choose on, one to judge on.",
)
@out_folder("Where results go; a folder of this model's own by default.")
@resumed
@click.option(
    "--judge", metavar="ARM", help="The arm that decides on the gate; the likeliest one of ours for `core`."
)
@click.option("--no-loading", is_flag=True, help="Leave out the times of loading and computing.")
@printed
def kv_reuse(
    model: str | None,
    targets: int | None,
    named: str,
    seed: int,
    corpus: tuple[Path, ...],
    half: str,
    out: Path | None,
    resume: bool,
    judge: str | None,
    no_loading: bool,
    as_json: bool,
) -> None:
    """Compare documents encoded one by one with full attention, and loading them with computing them.

    MODEL is a catalogue name or a GGUF file, default the model of the settings. Real places in Python
    packages are completed in many ways (docs/studies.md names them). Prints tables, writes JSON, a page and
    a figure. An interrupted run goes on where it stopped. When the model passes, the engine uses what was
    found from then on.

    \b
    Examples:
      steerway study kv-reuse
      steerway study kv-reuse --targets 60 --out results
      steerway study kv-reuse my.gguf --corpus ~/src/project --arms all
      steerway study kv-reuse --arms full,none,sequential,sequential+near=32+link=16
    """
    from engine.studies import kv_reuse as run
    from engine.studies import report
    from engine.studies.arms import arms_of, to_judge

    compared = arms_of(named)
    judged = to_judge(named, judge)
    shown, path = located(model)
    count = targets or run.DEFAULT_TARGETS
    plan = _plan(shown, path, count, compared, seed, corpus, half, judge=judged, loading=not no_loading)
    folder = out or _own_folder(plan)
    command = (
        f"steerway study kv-reuse {plan.model} --targets {count} --arms {named} --seed {seed} --half {half}"
    )
    document = _measured(plan, path, folder, resume=resume, command=command)
    if as_json:
        click.echo(json.dumps(document, indent=2))
    else:
        report.show(document)


def _measured(plan: Plan, path: Path, folder: Path, *, resume: bool, command: str) -> dict[str, Any]:
    from engine.settings import folders
    from engine.studies import kv_reuse as run
    from engine.studies import report, results
    from engine.studies.progress import told

    with results.opened(folder, plan.identity, fresh=not resume) as found:
        bench = run.Laboratory(path)
        try:
            with told(sys.stderr) as progress:
                names = run.run(plan, bench, found, progress=progress)
            gates = folders().state / "gates"
            return report.write(
                found, plan, names, folder, command=command, threads=bench.threads, gates=gates
            )
        finally:
            bench.close()


def _own_folder(plan: Plan) -> Path:
    from engine.settings import folders

    return folders().state / "studies" / f"kv-reuse-{plan.model}-{plan.seed}"


def _plan(
    name: str,
    path: Path,
    targets: int,
    arms: Any,
    seed: int,
    corpus: tuple[Path, ...],
    half: Any,
    *,
    judge: str,
    loading: bool,
) -> Plan:
    from engine.models import digest
    from engine.studies import kv_reuse as run

    packages = run.packages(corpus, seed=seed, half=half)
    return run.Plan(
        model=name, sha256=digest.of(path), targets=targets, seed=seed, arms=arms, packages=packages,
        loading=loading,
        judge=judge,
    )  # fmt: skip
