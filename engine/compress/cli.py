"""`steerway compress`: make a model file smaller, and say what that costs. Imports no torch until it runs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.compress import options
from engine.compress.options import DEVICES, METHODS, RANK, RECOVER_TOKENS, RECOVERIES, TYPES, Options

if TYPE_CHECKING:
    from engine.compress.job import Result


@click.command()
@click.argument("model")
@click.option(
    "-o", "out", metavar="OUT.gguf", type=click.Path(path_type=Path), required=True, help="The file to write."
)
@click.option(
    "--method",
    type=click.Choice(METHODS),
    default="sparsegpt",
    show_default=True,
    help="How weights are chosen and rounded.",
)
@click.option(
    "--type",
    "kind",
    type=click.Choice(TYPES),
    default="s24_0",
    show_default=True,
    help="What the layers become.",
)
@click.option(
    "--recover",
    type=click.Choice(RECOVERIES),
    default="none",
    show_default=True,
    help="Train what is kept: block by block, or the whole model (distill); or an adapter beside it (lora).",
)
@click.option(
    "--recover-tokens",
    metavar="N",
    type=click.IntRange(1024, 1 << 30),
    help=f"How much text distill and lora train on; {RECOVER_TOKENS:,} by default.",
)
@click.option(
    "--rank", metavar="N", type=click.IntRange(1, 512), help=f"With lora: its rank, {RANK} by default."
)
@click.option(
    "--device",
    type=click.Choice(DEVICES),
    help="Where distill and lora train; a GPU by default where there is one.",
)
@click.option(
    "--search", is_flag=True, help="Choose a type for each group of layers; needs --budget or --bpw."
)
@click.option(
    "--budget", metavar="MB", type=click.FloatRange(1), help="With --search: how large the file may be."
)
@click.option(
    "--bpw",
    metavar="X",
    type=click.FloatRange(1, 32),
    help="With --search: how many bits a weight, on average.",
)
@click.option("--layers", metavar="A-B", help="Only these blocks, counted from 0; all of them by default.")
@click.option(
    "--calibration",
    metavar="FILE|DIR",
    type=click.Path(path_type=Path),
    help="Text to calibrate on; by default the files of the repository you are in.",
)
@click.option(
    "--calibration-tokens",
    metavar="N",
    type=click.IntRange(1024, 1 << 20),
    default=16_384,
    show_default=True,
    help="How much of it.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")
def compress(
    model: str,
    out: Path,
    method: Any,
    kind: str,
    recover: Any,
    recover_tokens: int | None,
    rank: int | None,
    device: Any,
    search: bool,
    budget: float | None,
    bpw: float | None,
    layers: str | None,
    calibration: Path | None,
    calibration_tokens: int,
    as_json: bool,
) -> None:
    """Compress MODEL's linear layers: 2:4 sparse INT4 (s24_0), INT3 (i3_0) or INT4 (q4_0).

    MODEL is a catalogue name or a GGUF file of a llama or qwen2 model. Weights are chosen on text of your
    own, and perplexity before and after is measured on other text and code. Files with s24_0 or i3_0 run in
    Steerway only. A stopped run goes on behind its last layer. docs/compress.md says what each option costs.

    With --json, one object on stdout: `bytes`, `bpw` (bits a weight), `method`, `types` (how many tensors of
    each), `perplexity` (for `text` and `code`: `before`, `after`, `ratio`, `kl`, `same_top`), `engine` (the
    perplexities again, by llama.cpp with the written file; null when it does not know the types), `seconds`.
    After distill and lora also `recovered` (for `text` and `code`: `unrecovered`, the ratio of the
    perplexities without, and `closed`, the share of the gap in log-perplexity that is gone), `rates` (mean KL
    on training text held back, by the factor of the learning rates that were tried) and `adapter`.

    \b
    Examples:
      steerway compress smollm2-135m -o small.gguf
      steerway compress qwen2.5-coder-0.5b -o int3.gguf --type i3_0
      steerway compress mine.gguf -o half.gguf --layers 4-19 --recover blocks
      steerway compress mine.gguf -o best.gguf --search --bpw 4.2
      steerway compress smollm2-135m -o good.gguf --recover distill --recover-tokens 500000
      steerway compress mine.gguf -o base.gguf --recover lora --rank 32 --device cuda
    """
    chosen = Options(
        method=method,
        kind=kind,
        recover=recover,
        search=search,
        budget_bytes=None if budget is None else int(budget * 1e6),
        bits=bpw,
        layers=options.layers(layers),
        calibration=calibration,
        calibration_tokens=calibration_tokens,
        recover_tokens=recover_tokens,
        rank=rank,
        device=device,
    )
    chosen.check()
    options.need_torch()
    from engine.compress import job
    from engine.models import provision

    result = job.run(provision.locate(model), out, chosen, narrate=lambda line: click.echo(line, err=True))
    if as_json:
        click.echo(json.dumps(result.as_dict(), indent=2))
    else:
        _show(result)


def _show(result: Result) -> None:
    size = f"{result.bytes / 1e6:.1f} MB, {result.bits:.2f} bits a weight, was {result.bits_before:.2f}"
    click.echo(f"{result.out}: {size}")
    for kind, found in result.quality.items():
        ratio = f"{found.before:.2f} -> {found.after:.2f} ({found.ratio:.3f}x)"
        agree = f"KL {found.kl:.3f}, same first choice {found.same_top:.0%}"
        click.echo(f"{kind:<5} perplexity {ratio}, {agree}")
    for kind, (ratio_before, closed) in result.recovered.items():
        click.echo(f"{kind:<5} was {ratio_before:.3f}x before training: {closed:.0%} of the gap is closed")
    if result.rates:
        tried = ", ".join(f"{kl:.3f} at {float(factor):.2g}" for factor, kl in result.rates.items())
        click.echo(f"learning rates by trial: KL on training text held back {tried}")
    for kind, (before, after) in (result.engine or {}).items():
        click.echo(f"{kind:<5} in llama.cpp {before:.2f} -> {after:.2f}")
    if result.adapter is not None:
        size = f"{result.adapter.stat().st_size / 1e6:.1f} MB"
        click.echo(f"measured with the adapter {result.adapter}, {size}")
    click.echo(f"{result.seconds:.0f} s", file=sys.stderr)
    if result.own_types:
        names = " and ".join(result.own_types)
        click.echo(f"stock llama.cpp cannot read this file: {names} is Steerway's own")
