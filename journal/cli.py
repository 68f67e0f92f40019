"""The `steerway` command: its own options, and every command `steerway.commands` offers."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; errors a person can act on are one line on stderr."""
    if sys.argv[1:] == ["--version"]:
        from importlib.metadata import version

        print(f"steerway {version('steerway')}")
        return
    from journal.commands.root import run

    sys.exit(run(sys.argv[1:]))
