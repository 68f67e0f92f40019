"""`steerway study`: measure a model on this machine."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from engine.studies.kv_reuse import Plan


@click.group()
def study() -> None:
    """Measure a model on this machine: what is lost, what is gained.

    \b
    Examples:
      steerway study kv-reuse                     the default model, under 20 minutes on 2 cores
      steerway study kv-reuse smollm2-135m --json
      steerway study compression smollm2-135m     pruned, quantised, recovered: bytes against quality
      steerway study heads smollm2-135m           which attention heads an exact pattern can replace
    """


@study.command("kv-reuse")
@click.argument("model", required=False)
@click.option(
    "--targets", metavar="N", type=click.IntRange(4, 2000), help="How many places are completed; 56."
)
@click.option(
    "--arms",
    "named",
    metavar="ARMS",
    default="core",
    show_default=True,
    help="core, all, or ways to put a prompt together, with commas between them.",
)
@click.option(
    "--seed",
    metavar="N",
    type=click.IntRange(0),
    default=1,
    show_default=True,
    help="Chooses packages, places and bootstrap samples.",
)
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
@click.option(
    "--out",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="Where results go; a folder of this model's own by default.",
)
@click.option(
    "--resume/--fresh", default=True, help="Go on where a run stopped (the default), or start over."
)
@click.option(
    "--judge", metavar="ARM", help="The arm that decides on the gate; the likeliest one of ours for `core`."
)
@click.option("--no-loading", is_flag=True, help="Leave out the times of loading and computing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")
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
    from engine.models import provision
    from engine.settings import load
    from engine.studies import kv_reuse as run
    from engine.studies import report
    from engine.studies.arms import arms_of, to_judge

    compared = arms_of(named)
    judged = to_judge(named, judge)
    chosen = model or load().model
    path = provision.locate(chosen)
    count = targets or run.DEFAULT_TARGETS
    plan = _plan(chosen, path, count, compared, seed, corpus, half, judge=judged, loading=not no_loading)
    folder = out or _own_folder(plan)
    command = (
        f"steerway study kv-reuse {plan.model} --targets {count} --arms {named} --seed {seed} --half {half}"
    )
    document = _measured(plan, path, folder, resume=resume, command=command)
    if as_json:
        click.echo(json.dumps(document, indent=2))
    else:
        report.show(document)


@study.command()
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
@click.option(
    "--calibration-tokens",
    metavar="N",
    type=click.IntRange(1024),
    default=8192,
    show_default=True,
    help="How much of it.",
)
@click.option(
    "--recover-tokens",
    metavar="N",
    type=click.IntRange(1024),
    default=65_536,
    show_default=True,
    help="How much text recovery trains on.",
)
@click.option(
    "--lines",
    metavar="N",
    type=click.IntRange(4, 2000),
    default=48,
    show_default=True,
    help="How many lines of installed packages are completed.",
)
@click.option(
    "--seed", metavar="N", type=click.IntRange(0), default=1, show_default=True, help="Chooses lines."
)
@click.option(
    "--out",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="Where results go; a folder of this model's own by default.",
)
@click.option(
    "--resume/--fresh", default=True, help="Go on where a run stopped (the default), or start over."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")
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
    from engine.models import catalogue, digest, provision
    from engine.settings import folders, load
    from engine.studies import forms, results

    need_torch()
    from engine.studies import compression as run
    from engine.studies import compression_report as report
    from engine.studies.progress import told

    name = model or load().model
    path = provision.locate(name)
    shown = path.stem if catalogue.is_path(name) else name
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


@study.command()
@click.argument("model", required=False)
@click.option(
    "--files",
    metavar="DIR|FILE",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Python code to find heads in and to judge on, halved; Steerway's own by default. May be repeated.",
)
@click.option(
    "--tokens",
    metavar="N",
    type=click.IntRange(64, 2048),
    default=768,
    show_default=True,
    help="The longest piece of a file.",
)
@click.option(
    "--heads",
    "count",
    metavar="K",
    type=click.IntRange(1, 40),
    default=16,
    show_default=True,
    help="How many heads are replaced, one at a time and together.",
)
@click.option(
    "--windows",
    metavar="N",
    type=click.IntRange(1, 100),
    default=4,
    show_default=True,
    help="How many pieces are judged on; more than before add to the results.",
)
@click.option(
    "--seed",
    metavar="N",
    type=click.IntRange(0),
    default=1,
    show_default=True,
    help="Chooses pieces and names.",
)
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
@click.option(
    "--resume/--fresh", default=True, help="Go on where a run stopped (the default), or start over."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")
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
    from engine.models import catalogue, digest, provision
    from engine.settings import folders, load
    from engine.studies import results
    from engine.studies.progress import told

    need_torch()
    from engine.studies import heads as run
    from engine.studies import heads_profile as given
    from engine.studies import heads_report as report
    from engine.studies import heads_table as table

    name = model or load().model
    path = provision.locate(name)
    shown = path.stem if catalogue.is_path(name) else name
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


@study.command()
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
@click.option(
    "--heads",
    "count",
    metavar="K",
    type=click.IntRange(1, 40),
    default=16,
    show_default=True,
    help="How many heads the head study chooses, of all kinds.",
)
@click.option(
    "--tokens",
    metavar="N",
    type=click.IntRange(1),
    default=65_536,
    show_default=True,
    help="How many tokens each adapter is trained on.",
)
@click.option(
    "--rank", metavar="N", type=click.IntRange(1, 256), default=16, show_default=True, help="Of the adapters."
)
@click.option(
    "--window",
    "longest",
    metavar="N",
    type=click.IntRange(64, 2048),
    default=768,
    show_default=True,
    help="The longest piece of a file.",
)
@click.option(
    "--windows",
    metavar="N",
    type=click.IntRange(1, 100),
    default=8,
    show_default=True,
    help="How many pieces are judged on; more than before add to the results.",
)
@click.option(
    "--files",
    metavar="DIR|FILE",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Python code to find heads in, train and judge on; Steerway's own by default. May be repeated.",
)
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="Where to train; a GPU where torch sees one.",
)
@click.option(
    "--seed", metavar="N", type=click.IntRange(0), default=1, show_default=True, help="Chooses pieces."
)
@click.option(
    "--out",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="Where adapters and results go; a folder of this run's own by default.",
)
@click.option(
    "--resume/--fresh", default=True, help="Go on where a run stopped (the default), or start over."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")
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
    from engine.models import catalogue, digest, provision
    from engine.settings import folders, load
    from engine.studies import results
    from engine.studies.progress import told

    need_torch()
    from engine.studies import adapt as run
    from engine.studies import adapt_report as report

    arms, wanted = run.parse(named, run.ARMS, "--arms"), run.parse(kinds, run.KINDS, "--kinds")
    name = model or load().model
    path = provision.locate(name)
    shown = path.stem if catalogue.is_path(name) else name
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
    chosen: str,
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
    from engine.models import catalogue, digest
    from engine.studies import kv_reuse as run

    name = path.stem if catalogue.is_path(chosen) else chosen
    packages = run.packages(corpus, seed=seed, half=half)
    return run.Plan(
        model=name, sha256=digest.of(path), targets=targets, seed=seed, arms=arms, packages=packages,
        loading=loading,
        judge=judge,
    )  # fmt: skip
