"""`cmd:NAME`: what a cell of this journal printed when it last ran here, or what was pinned of it."""

from __future__ import annotations

from pathlib import Path

from engine.documents import DocumentKind
from engine.privacy.strings import without_secrets
from journal.document import Cell
from journal.errors import CellUnknown
from journal.resolvers.content import Content, ReferenceProblem, Scope

HEAD_BYTES, TAIL_BYTES = 8_000, 32_000
_SHOWN_COMMAND_LINES = 5


def resolve(target: str, scope: Scope, *, kind: DocumentKind) -> Content:
    """The command and its last output. Raises ReferenceProblem when there is none yet."""
    cell = _cell(target, scope)
    output, status = _recorded(cell, scope)
    if output is None:
        output = _pinned(cell, scope)
    if output is None:
        name = cell.name or cell.id
        raise ReferenceProblem(f"cmd:{target} has no output yet, run it: steerway run --cell {name}")
    clean, _ = without_secrets(output, "")
    command = _command(cell)
    ending = f"[exit {status}]\n" if status else ""
    text = f"{command}{clean.rstrip(chr(10))}\n{ending}"
    return Content(f"outputs/{cell.name or cell.id or target}.txt", text, output, kind)


def _cell(target: str, scope: Scope) -> Cell:
    if scope.journal is None:
        raise ReferenceProblem(f"cmd:{target} needs a journal to look in")
    try:
        cell = scope.journal.cell(target)
    except CellUnknown as error:
        raise ReferenceProblem(f"cmd:{target}: {error}") from error
    if not cell.is_code:
        raise ReferenceProblem(f"cmd:{target} is a {cell.kind} cell, only code cells have output")
    return cell


def _recorded(cell: Cell, scope: Scope) -> tuple[str | None, int | None]:
    run = scope.state.last_run(scope.journal_key, cell.key) if scope.state is not None else None
    path = scope.state.output(run) if scope.state is not None and run is not None else None
    if run is None or path is None:
        return None, None
    try:
        return _ends(path), run.exit
    except OSError:
        return None, None


def _ends(path: Path) -> str:
    """The head and the tail of a file of any size."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(0)
        if size <= HEAD_BYTES + TAIL_BYTES:
            return file.read().decode("utf-8", "replace")
        head = file.read(HEAD_BYTES).decode("utf-8", "replace").rpartition("\n")[0]
        file.seek(size - TAIL_BYTES)
        tail = file.read().decode("utf-8", "replace").partition("\n")[2]
    return f"{head}\n[... {size - HEAD_BYTES - TAIL_BYTES:,} bytes left out ...]\n{tail}"


def _pinned(cell: Cell, scope: Scope) -> str | None:
    """The output that the journal itself carries, inline or beside it."""
    for other in scope.journal.cells if scope.journal is not None else ():
        if other.kind == "output" and cell.id and other.meta.get("output") == cell.id:
            return other.text
    stem = Path(scope.journal_key).name.removesuffix(".md")
    path = scope.base / f"{stem}.out" / f"{cell.id}.txt"
    try:
        return _ends(path) if cell.id and path.is_file() else None
    except OSError:
        return None


def _command(cell: Cell) -> str:
    lines = cell.text.strip("\n").split("\n")
    if cell.kind == "python" or not lines or len(lines) > _SHOWN_COMMAND_LINES:
        return ""
    return "".join(f"$ {line}\n" for line in lines)
