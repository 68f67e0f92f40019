"""`steerway cache`: what of documents is kept on disk, whether it is whole, and deleting it."""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from engine.kv.store import Store, StoreStats

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")


@click.group()
def cache() -> None:
    """Look at, check and delete keys and values of documents kept on disk.

    They save computing a document again, and reveal its text as much as the document itself does: only your
    own user can read them. Where the folder is and how large it gets is in the settings.

    \b
    Examples:
      steerway cache stats
      steerway cache verify
      steerway cache prune --days 30
      steerway cache clear --yes
    """


def _store() -> Store:
    from engine.kv.store import Store
    from engine.settings import load

    return Store.of(load())


@cache.command()
@as_json
def stats(as_json: bool) -> None:
    """Show how much is kept, and the limits.

    \b
    Examples:
      steerway cache stats
      steerway cache stats --json
    """
    found = _store().stats()
    if as_json:
        _print_json(_facts(found))
        return
    for label, text in _describe(found):
        click.echo(f"{label:<11} {text}")


# What happened "in this process" says nothing in a command of its own.
_COUNTS = ("hits", "misses", "damaged", "writes", "refused", "evictions")


def _facts(found: StoreStats) -> dict[str, Any]:
    facts = dataclasses.asdict(found)
    return {name: value for name, value in facts.items() if name not in _COUNTS} | {
        "folder": str(found.folder)
    }


def _describe(found: StoreStats) -> list[tuple[str, str]]:
    from engine.models.progress import megabytes

    aside = f"{found.quarantined} damaged files, {megabytes(found.quarantined_bytes)}"
    return [
        ("folder", str(found.folder)),
        ("kept", f"{found.units:,} units, {megabytes(found.bytes)} of {megabytes(found.budget_bytes)}"),
        ("stored as", found.kind),
        ("disk", f"{megabytes(found.free_bytes)} free, {megabytes(found.floor_bytes)} are left to others"),
        *([("quarantine", aside)] if found.quarantined else []),
        *([("off", found.problem)] if found.problem else []),
    ]


@cache.command()
@as_json
def verify(as_json: bool) -> None:
    """Read every file and compare its checksums; set damaged ones aside.

    Exit status 1 when there were any. They are computed again when they are needed.

    \b
    Examples:
      steerway cache verify
      steerway cache verify --json
    """
    from engine.models.progress import megabytes, narrate

    with narrate() as progress:
        found = _store().verify(progress)
    if as_json:
        _print_json({"units": found.units, "bytes": found.bytes, "damaged": found.damaged})
    else:
        for name, reason in found.damaged.items():
            click.echo(f"{name}: {reason}")
        click.echo(f"{found.units:,} units, {megabytes(found.bytes)}, {len(found.damaged)} damaged")
    if found.damaged:
        sys.exit(1)


@cache.command()
@click.option("--days", type=click.FloatRange(min=0), help="Delete units not used for this many days.")
@click.option("--mb", type=click.IntRange(min=0), help="Keep at most this many megabytes.")
@as_json
def prune(days: float | None, mb: int | None, as_json: bool) -> None:
    """Delete leftovers of crashes and whatever exceeds the limits.

    Of what exceeds them, what is cheapest to compute again goes first.

    \b
    Examples:
      steerway cache prune
      steerway cache prune --days 30
      steerway cache prune --mb 500
    """
    from engine.kv.budgets import MEGABYTE

    freed = _store().prune(budget_bytes=None if mb is None else mb * MEGABYTE, unused_days=days)
    _report(freed.units, freed.bytes, as_json=as_json)


@cache.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
@as_json
def clear(yes: bool, as_json: bool) -> None:
    """Delete all of it. Documents are computed again when they are needed.

    What a running engine holds in memory is not deleted, and may be written again: end it first.

    \b
    Examples:
      steerway cache clear
      steerway cache clear --yes
    """
    from engine.models.progress import megabytes

    store = _store()
    found = store.stats()
    if not yes and (found.units or found.quarantined):
        _confirm(f"Delete {found.units:,} units ({megabytes(found.bytes)})?")
    freed = store.clear()
    _report(freed.units, freed.bytes, as_json=as_json)


def _confirm(question: str) -> None:
    from engine.errors import UsageError

    if not sys.stdin.isatty():
        raise UsageError("nobody is there to confirm", hint="add --yes to delete without asking")
    click.confirm(question, abort=True, err=True)


def _report(units: int, freed_bytes: int, *, as_json: bool) -> None:
    from engine.models.progress import megabytes

    if as_json:
        _print_json({"units": units, "freed_bytes": freed_bytes})
    else:
        click.echo(f"{units:,} units deleted, {megabytes(freed_bytes)} freed")


def _print_json(facts: dict[str, Any]) -> None:
    click.echo(json.dumps(facts, indent=2, ensure_ascii=False))
