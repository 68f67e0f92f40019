"""Options that studies share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

resumed = click.option(
    "--resume/--fresh", default=True, help="Go on where a run stopped (the default), or start over."
)
printed = click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")


def number(
    *names: str, least: int, help: str, most: int | None = None, default: int | None = None
) -> Decorator:
    """An option that takes a whole number from `least` to `most`."""
    return click.option(
        *names, metavar="N", type=click.IntRange(least, most), default=default,
        show_default=default is not None, help=help,
    )  # fmt: skip


def python_files(help: str) -> Decorator:
    """`--files`, which may be repeated."""
    return click.option(
        "--files", metavar="DIR|FILE", multiple=True, type=click.Path(path_type=Path), help=help
    )


def out_folder(help: str) -> Decorator:
    """`--out`, a folder."""
    return click.option("--out", metavar="FOLDER", type=click.Path(path_type=Path), help=help)


def located(model: str | None) -> tuple[str, Path]:
    """What to call `model` (None: that of the settings), and its file. Raises what provisioning raises."""
    from engine.models import catalogue, provision
    from engine.settings import load

    name = model or load().model
    path = provision.locate(name)
    return path.stem if catalogue.is_path(name) else name, path
