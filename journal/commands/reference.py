"""The command reference as Markdown: `python -m journal.commands.reference > docs/commands.md`."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import click

from journal.commands.root import root

INTRODUCTION = """# Commands

stdout is data, stderr is narration; `--json` wherever a program may read. Exit codes: 0 fine,
1 a cell failed, 2 usage or unreadable input, 3 timeout, 4 a kernel died, 5 model or engine, 70 a bug.

This page is made from the program's own help: `python -m journal.commands.reference > docs/commands.md`.
"""


def reference() -> str:
    """Every command with its arguments and options."""
    context = click.Context(root, info_name="steerway")
    return "\n".join([INTRODUCTION, *_command(root, context, "steerway", ())]).rstrip() + "\n"


def _command(
    command: click.Command, context: click.Context, path: str, inherited: tuple[str, ...]
) -> Iterator[str]:
    yield f"## `{_usage(command, context, path)}`\n"
    text = inspect.cleandoc(command.help or "").replace("\b\n", "")
    yield _prose(text) + "\n"
    options = [p for p in command.params if isinstance(p, click.Option) and not p.hidden]
    if options:
        yield "| option | meaning |\n|---|---|"
        yield from (_option(option) for option in options)
        yield ""
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            if child is not None and not child.hidden:
                yield from _command(child, click.Context(child, context, name), f"{path} {name}", ())


def _usage(command: click.Command, context: click.Context, path: str) -> str:
    pieces = [p for p in command.collect_usage_pieces(context) if p != "[OPTIONS]"]
    return " ".join([path, *pieces])


def _prose(text: str) -> str:
    """Indented lines, which `--help` shows as they are, become code blocks."""
    lines = ["    " + line.strip() if line.startswith(" ") else line for line in text.splitlines()]
    return "\n".join(lines).strip()


def _option(option: click.Option) -> str:
    names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    value = "" if option.is_flag else f" {option.metavar or option.name.upper() if option.name else ''}"
    return f"| {names}{value} | {(option.help or '').replace('|', '&#124;')} |".replace("|PATH", "&#124;PATH")


if __name__ == "__main__":
    print(reference(), end="")
