"""`steerway doctor`: everything the application depends on, and what to do about what is off."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from engine.diagnosis import Check

MARKS = {"ok": "green", "warn": "yellow", "fail": "bold red"}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")
@click.pass_context
def doctor(ctx: click.Context, as_json: bool) -> None:
    """Check this installation and say what to do about each problem.

    Exits with 0 unless a check fails. Nothing is changed and nothing is downloaded.

    \b
    Examples:
      steerway doctor
      steerway doctor --json
    """
    from engine.diagnosis import engine_checks

    checks = [*engine_checks(), *journal_checks()]
    healthy = all(check.status != "fail" for check in checks)
    if as_json:
        report = {"ok": healthy, "checks": [asdict(check) for check in checks]}
        click.echo(json.dumps(report, indent=2, ensure_ascii=False))
    else:
        _print(checks)
    ctx.exit(0 if healthy else 1)


def journal_checks() -> Iterator[Check]:
    """What cells and editors need."""
    from engine.diagnosis import run

    yield from run({"kernels": kernels, "shell": shell, "git": git, "editors": editors})


def kernels() -> Iterator[Check]:
    """Jupyter kernels a code cell can run on."""
    from jupyter_client.kernelspec import KernelSpecManager

    from engine.diagnosis import Check

    found = {name: entry["spec"] for name, entry in KernelSpecManager().get_all_specs().items()}
    advice = (
        "python cells need one: `python -m pip install ipykernel`, then `python -m ipykernel install --user`"
    )
    if not any(spec.get("language") == "python" for spec in found.values()):
        yield Check("kernels", "fail", ", ".join(found) or "none", advice)
        return
    yield Check(
        "kernels", "ok", ", ".join(f"{name} ({spec['display_name']})" for name, spec in found.items())
    )
    lost = [name for name, spec in found.items() if not _runs(spec.get("argv", []))]
    if lost:
        yield Check(
            "kernels", "warn", f"their program is gone: {', '.join(lost)}", "`jupyter kernelspec remove` them"
        )


def _runs(argv: list[str]) -> bool:
    # jupyter_client itself replaces a bare `python` by its own interpreter.
    return bool(argv) and (argv[0].startswith("python") or shutil.which(argv[0]) is not None)


def shell() -> Check:
    """Shells for `sh` and `bash` cells."""
    from engine.diagnosis import Check

    found = {name: path for name in ("bash", "zsh", "sh") if (path := shutil.which(name))}
    if "bash" not in found and "sh" not in found:
        return Check("shell", "fail", "neither bash nor sh", "shell cells need one on PATH")
    login = os.environ.get("SHELL", "not set")
    return Check("shell", "ok", f"{', '.join(found.values())}; SHELL is {login}")


def git() -> Check:
    """Git, which finds a workspace's root and merges journals."""
    from engine.diagnosis import Check

    command = shutil.which("git")
    if command is None:
        advice = "install git; without it the workspace is the folder that holds the journal"
        return Check("git", "warn", "not found", advice)
    answer = subprocess.run(
        [command, "--version"], capture_output=True, text=True, timeout=10, stdin=subprocess.DEVNULL
    )
    return Check("git", "ok", answer.stdout.strip().removeprefix("git version "))


def editors() -> Check:
    """Editors suggestions can go to; none is needed for the terminal."""
    from engine.diagnosis import Check

    names = ("nvim", "code", "hx", "emacs", "node")
    found = [f"{name} ({path})" for name in names if (path := shutil.which(name))]
    return Check(
        "editors", "ok", ", ".join(found) or "none on PATH; needed only for suggestions in an editor"
    )


def _print(checks: list[Check]) -> None:
    if sys.stdout.isatty() and importlib.util.find_spec("rich"):
        _print_table(checks)
        return
    for check in checks:
        click.echo(f"{check.status:<5} {check.name:<17} {check.found}")
        if check.advice:
            click.echo(f"{'':<23} -> {check.advice}")
    click.echo(_verdict(checks))


def _print_table(checks: list[Check]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("")
    table.add_column("what", no_wrap=True)
    table.add_column("found, and what to do", overflow="fold")
    for check in checks:
        text = Text(check.found)
        if check.advice:
            text.append(f"\n→ {check.advice}", style=MARKS[check.status])
        table.add_row(Text(check.status, style=MARKS[check.status]), check.name, text)
    console.print(table)
    console.print(_verdict(checks))


def _verdict(checks: list[Check]) -> str:
    counts = {status: sum(check.status == status for check in checks) for status in MARKS}
    return f"{counts['ok']} fine, {counts['warn']} to look at, {counts['fail']} broken"
