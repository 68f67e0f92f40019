"""The main job on the ledger example: a step's documents condition a suggestion, and its tests judge it.

    python examples/demo.py [--model NAME|PATH]

Works on a copy in a temporary folder; needs no terminal. Ends with 1 when the main job does not work.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.syntax import Syntax
from rich.table import Table

from engine.documents import Document
from engine.open import open_engine
from engine.request import Suggestion
from engine.runtime.base import Engine
from engine.settings import load
from journal import files
from journal.context import snapshot
from journal.holes import Hole
from journal.workspace import Workspace

JOURNAL = "refunds.journal.md"
FILE = "ledger/refunds.py"
HOLE = "entry = book"
WITHOUT_STEP, WITH_STEP, CHECK_STEP = "r7k2", "w3d5", "k6n4"

console = Console(width=None if sys.stdout.isatty() else 110, highlight=False)


@dataclass(frozen=True)
class Shown:
    """A step, the suggestion it led to, and the file with that suggestion in place."""

    step: str
    suggestion: Suggestion
    filled: str


def main() -> int:
    """Run the demo and return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="a catalogue name, a GGUF file, fake or remote:URL")
    arguments = parser.parse_args()
    with _copy() as folder:
        return _demo(folder, arguments.model)


def _demo(folder: Path, model: str | None) -> int:
    heading("1. The journal runs: its first step shows the missing feature")
    steerway(folder, "run", JOURNAL, "--step", WITHOUT_STEP, "--trust")
    heading("2. The next step gathers what the work needs; its cell tries the call")
    steerway(folder, "run", JOURNAL, "--step", WITH_STEP, "--trust")
    steerway(folder, "context", "--journal", JOURNAL, "--step", WITH_STEP)
    with _engine(model) as engine:
        heading("3. A suggestion where the cursor is, with that step's documents")
        right = suggest(engine, folder, WITH_STEP)
        heading("4. One more key is typed: what is still in the KV cache is not computed again")
        suggest(engine, folder, WITH_STEP, typed=".")
        heading("5. The same hole from the first step: other documents, another suggestion")
        other = suggest(engine, folder, WITHOUT_STEP)
    heading("6. The suggestion is accepted; the journal's last step runs the tests")
    (folder / FILE).write_text(right.filled)
    code = steerway(folder, "run", JOURNAL, "--step", CHECK_STEP, "--trust")
    return verdict(code, right, other)


def heading(text: str) -> None:
    """A line between two scenes."""
    console.print()
    console.rule(f"[bold]{text}", align="left")


def steerway(folder: Path, *arguments: str) -> int:
    """Run the product as a person would, showing the command."""
    console.print(f"[dim]$[/] [bold]steerway {' '.join(arguments)}")
    command = Path(sys.executable).with_name("steerway")
    return subprocess.run([command, *arguments], cwd=folder, stdin=subprocess.DEVNULL).returncode


def suggest(engine: Engine, folder: Path, step: str, typed: str = "") -> Shown:
    """Ask for the hole, `typed` already there, with `step` as the current one; show the answer in place."""
    text = (folder / FILE).read_text().replace(HOLE, HOLE + typed)
    hole = Hole(folder / FILE, text, text.index(HOLE) + len(HOLE + typed))
    line = text[: hole.offset].count("\n") + 1
    column = hole.offset - text.rfind("\n", 0, hole.offset)
    console.print(f"[dim]$[/] [bold]steerway complete {FILE}:{line}:{column} --step {step}")
    documents = _documents(folder, step)
    request = hole.request(root=folder, documents=documents, settings=load())
    suggestion = engine.suggest(request)
    _show(hole, suggestion)
    return Shown(step, suggestion, hole.filled(suggestion.text))


def verdict(code: int, right: Shown, other: Shown) -> int:
    """What came out, and where to go from here."""
    console.print()
    if code or right.suggestion.text == other.suggestion.text:
        console.print(
            "[bold red]The main job did not work here:[/] the tests of the example fail, or the step made"
        )
        console.print("no difference. `steerway doctor` tells what is off.")
        return 1
    console.print(
        "[bold green]The tests pass with the suggestion of the step that holds the right document,[/]"
    )
    console.print(f"and the other step led to [bold]{HOLE}{other.suggestion.text}[/] instead.\n")
    console.print("From here:")
    console.print("  .venv/bin/steerway examples/ledger/refunds.journal.md   the journal in the terminal")
    console.print("  .venv/bin/steerway shell examples/ledger/refunds.journal.md   the same, line by line")
    console.print(
        "  .venv/bin/steerway lsp --print-config nvim              connect Neovim (vscode, helix, emacs)"
    )
    return 0


def _show(hole: Hole, suggestion: Suggestion) -> None:
    table = Table("document", "kind", "tokens", "KV", box=None, header_style="dim", padding=(0, 2, 0, 0))
    for use in suggestion.documents:
        table.add_row(use.name, use.kind, str(use.tokens), use.origin)
    console.print(table)
    filled = hole.filled(suggestion.text)
    line = filled[: hole.offset].count("\n") + 1
    around = (max(1, line - 2), line + 1 + suggestion.text.count("\n"))
    console.print(Syntax(filled, "python", line_range=around, line_numbers=True, highlight_lines={line}))
    console.print(
        f"[dim]suggested [/][bold]{suggestion.text.strip()!r}[/][dim]; "
        f"{suggestion.tokens_computed} tokens computed, "
        f"{suggestion.tokens_reused} reused, first token after {suggestion.first_token_ms:.0f} ms, "
        f"{suggestion.tokens_generated} generated, {suggestion.total_ms:.0f} ms in all"
    )


def _documents(folder: Path, step: str) -> tuple[Document, ...]:
    path = folder / JOURNAL
    journal, _ = files.read(path)
    return snapshot(journal, path=path, workspace=Workspace.find(folder), step=journal.step(step)).documents


@contextmanager
def _engine(model: str | None) -> Iterator[Engine]:
    engine = open_engine(model)
    try:
        yield engine
    finally:
        engine.close()


@contextmanager
def _copy() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="steerway-demo-") as folder:
        copy = Path(folder).resolve() / "ledger"
        shutil.copytree(
            Path(__file__).parent / "ledger", copy, ignore=shutil.ignore_patterns("__pycache__", ".steerway")
        )
        os.environ.setdefault("PYTHONDONTWRITEBYTECODE", "1")
        yield copy


if __name__ == "__main__":
    sys.exit(main())
