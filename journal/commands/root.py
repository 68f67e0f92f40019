"""The root group: commands arrive through the entry-point group, a bare file opens the TUI."""

from __future__ import annotations

import os
import sys
from functools import cache
from importlib.metadata import EntryPoint, entry_points, version
from pathlib import Path
from typing import Any

import click

from engine.errors import SteerwayError, UsageError

GROUP = "steerway.commands"


@cache
def _commands() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


class Root(click.Group):
    """A group whose commands are loaded when asked for; `steerway FILE` means `steerway open FILE`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_commands())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        point = _commands().get(cmd_name)
        if point is None:
            return None
        try:
            command: click.Command = point.load()
        except Exception as error:  # a broken plug-in must not take the other commands with it
            return _broken(point, error)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _commands() and (args[0].endswith(".md") or Path(args[0]).exists()):
            args = ["open", *args]
        return super().resolve_command(ctx, args)


def _broken(point: EntryPoint, error: Exception) -> click.Command:
    def complain(**_: object) -> None:
        hint = f"reinstall what provides {point.value} ({type(error).__name__}: {error})"
        raise UsageError(f"the command `{point.name}` does not load", hint=hint)

    return click.Command(point.name, callback=complain, short_help=f"does not load: {error}")


@click.group(
    cls=Root,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(version("steerway"), prog_name="steerway", message="%(prog)s %(version)s")
@click.pass_context
def root(ctx: click.Context) -> None:
    """A code assistant built on an executable journal.

    `steerway FILE` opens a journal in the terminal; without FILE, the active one.
    """
    if ctx.invoked_subcommand is None:
        command = _commands()["open"].load()
        ctx.invoke(command)


def _one_line(error: click.ClickException) -> str:
    """What click has to say, as every other error is said."""
    said = " ".join(error.format_message().split()).rstrip(".")
    context = getattr(error, "ctx", None)
    where = context.command_path if context is not None else "steerway"
    return f"{said[:1].lower()}{said[1:]}: `{where} --help` shows what can be given"


def run(arguments: list[str]) -> int:
    """Run the command line and return the exit code."""
    try:
        result: Any = root.main(args=arguments, prog_name="steerway", standalone_mode=False)
    except SteerwayError as error:
        click.echo(f"steerway: {error}", err=True)
        return error.exit_code
    except click.ClickException as error:
        click.echo(f"steerway: {_one_line(error)}", err=True)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("steerway: interrupted", err=True)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 141
    except Exception as error:
        if os.environ.get("STEERWAY_DEBUG"):
            raise
        where = f"{type(error).__name__}: {error}"
        click.echo(f"steerway: this is a bug ({where}): STEERWAY_DEBUG=1 shows where it is from", err=True)
        return SteerwayError.exit_code
    return result if isinstance(result, int) else 0
