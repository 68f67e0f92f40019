"""`steerway lsp`: the language server on standard input and output."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

EDITORS = ("nvim", "vscode", "helix", "emacs")


@click.command()
@click.option(
    "--journal",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Use this journal for every file, instead of each workspace's active one.",
)
@click.option("--model", metavar="NAME|PATH", help="Use this model instead of your settings' one.")
@click.option(
    "--engine",
    "where",
    type=click.Choice(["shared", "inline"]),
    help="Run the model in the process all front ends share, or in this one.",
)
@click.option(
    "--log",
    "log_file",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write a log here, without any text of your files.",
)
@click.option(
    "--print-config",
    metavar="EDITOR",
    type=click.Choice(EDITORS),
    help=f"Print how to set up {', '.join(EDITORS)}, and exit.",
)
@click.option("--stdio", is_flag=True, hidden=True, help="What editors say by habit; it is always so.")
def lsp(
    journal: Path | None,
    model: str | None,
    where: Literal["shared", "inline"] | None,
    log_file: Path | None,
    print_config: str | None,
    stdio: bool,
) -> int:
    """Serve suggestions to an editor (LSP 3.18, stdin and stdout)."""
    if print_config:
        from lsp.editors import instructions

        click.echo(instructions(print_config), nl=False)
        return 0
    from lsp.main import serve

    return serve(journal=journal, model=model, log_file=log_file, where=where)
