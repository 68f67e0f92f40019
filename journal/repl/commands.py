"""The `:commands` of `steerway shell`: one table, from which the help is made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from engine.errors import UsageError
from journal.document import REFERENCE_KINDS, Cell
from journal.repl.session import Ran, Session
from journal.run.plan import choose
from journal.run.runner import label


@dataclass(frozen=True)
class Command:
    """A command: how it is written, what it does, what its arguments complete to ("cells", "steps", "")."""

    name: str
    arguments: str
    help: str
    action: Callable[[Session, str], bool | None]
    completes: str = ""


def dispatch(session: Session, line: str) -> bool:
    """Do what the line says; False when it is to leave. Raises UsageError for a command that is none."""
    word, _, rest = line[1:].strip().partition(" ")
    found = [command for name, command in COMMANDS.items() if name == word] or [
        command for name, command in COMMANDS.items() if word and name.startswith(word)
    ]
    if len(found) > 1:
        raise UsageError(f"`:{word}` may be " + " or ".join(f"`:{one.name}`" for one in found))
    if not found:
        raise UsageError(f"there is no command `:{word}`", hint="`:help` lists them")
    return found[0].action(session, rest.strip()) is not False


def _help(session: Session, argument: str) -> None:
    rows = [(f":{command.name} {command.arguments}".rstrip(), command.help) for command in COMMANDS.values()]
    width = max(len(usage) for usage, _ in rows)
    session.say("\n".join(f"  {usage:<{width}}  {text}" for usage, text in rows))
    session.say("Anything else runs in the journal's shell (`:python`: in its kernel). Ctrl-C interrupts it.")


def _steps(session: Session, argument: str) -> None:
    current = session.step
    for number, step in enumerate(session.journal.steps, 1):
        mark = ">" if current is not None and step.key == current.key else " "
        state = str(step.meta.get("state", "todo"))
        session.say(f"{mark} {number:>2}  {step.id:<6} {state:<8} {step.title}")
    if not session.journal.steps:
        session.say("this journal has no steps")


def _step(session: Session, argument: str) -> None:
    if argument:
        session.workspace.set_current_step(session.path, session.journal.step(argument))
    step = session.step
    session.say(f"step: {step.title}" if step else "this journal has no steps")


def _cells(session: Session, argument: str) -> None:
    if argument == "all" or session.step is None:
        pool = session.journal.cells
    else:
        pool = session.journal.cells_of(session.step)
    shown = [cell for cell in pool if cell.is_code]
    for cell in shown:
        first = next(iter(cell.text.splitlines()), "")
        freshness = session.runner.freshness(cell, session.journal)
        session.say(f"  {label(cell):<14} {cell.kind:<8} {freshness:<7} {first[:60]}")
    if not shown:
        session.say("no code cells in this step; `:cells all` looks in the whole journal")


def _show(session: Session, argument: str) -> None:
    cell = session.journal.cell(argument)
    session.say(cell.text)
    if cell.kind in REFERENCE_KINDS and cell.meta.get("symbol"):
        _show_places(session, cell)


def _show_places(session: Session, cell: Cell) -> None:
    from journal.references import parse_reference, printable
    from journal.resolvers.places import places

    found = places(parse_reference(cell), root=session.workspace.root, path=session.path)
    if found.problem:
        session.say(f"  ! {printable(found.problem)}")
    words = {"defined": "defined", "used": "used", "reached": "perhaps"}
    for place in found.places:
        session.say(f"  {words[place.how]:<8} {found.name}:{place.line}  {printable(place.text)}")
    if found.places and not found.used:
        session.say("  not used in this file")


def _run(session: Session, argument: str) -> None:
    names = argument.split()
    if not names:
        raise UsageError(":run needs the name of a cell", hint="`:run all` runs the journal")
    cells: tuple[Cell, ...]
    if names == ["all"]:
        cells = choose(session.journal, session.runner)
    elif names == ["step"] and session.step is not None:
        cells = choose(session.journal, session.runner, step=session.step.id or session.step.title)
    else:
        cells = choose(session.journal, session.runner, cells=names)
    session.run_cells(cells)


def _context(session: Session, argument: str) -> None:
    from journal.context import snapshot

    shot = snapshot(session.journal, path=session.path, workspace=session.workspace, step=session.step)
    for document in shot.documents:
        session.say(f"  {document.kind:<8} {len(document.text):>7,} characters  {document.name}")
    for problem in shot.problems:
        session.say(f"  ! {problem}")
    if not shot.documents:
        session.say("this step holds no documents")


def _python(session: Session, argument: str) -> None:
    session.mode = "python"
    if argument:
        session.run_text(argument)
        session.mode = "sh"


def _sh(session: Session, argument: str) -> None:
    session.mode = "sh"
    if argument:
        session.run_text(argument)


def _save(session: Session, argument: str) -> None:
    ran: list[Ran] = list(session.ran)
    words = argument.split()
    if words[:1] == ["all"]:
        words = words[1:]
    else:
        ran = ran[-1:]
    if not ran:
        raise UsageError("nothing was run since the last save")
    added = session.save(ran, words[0] if words else "")
    step = session.step
    where = f"step {step.title}" if step else session.path.name
    session.say(f"saved {', '.join(label(cell) for cell in added)} in {where}")


def _restart(session: Session, argument: str) -> None:
    session.runner.restart()
    session.say("new shell and kernel; variables and directory are lost")


def _quit(session: Session, argument: str) -> bool:
    return False


COMMANDS: dict[str, Command] = {
    command.name: command
    for command in (
        Command("steps", "", "the journal's steps; > marks where you are", _steps),
        Command("step", "[ID]", "be at this step (id, number, title); without ID, say which", _step, "steps"),
        Command("cells", "[all]", "the step's code cells and whether their results still stand", _cells),
        Command("show", "CELL", "a cell's text; of a symbol's card, its uses too", _show, "cells"),
        Command("run", "CELL...", "run cells and what they need; `step` or `all` run more", _run, "cells"),
        Command("context", "", "the documents a suggestion reads at this step", _context),
        Command("python", "[CODE]", "type Python from here on, or run this line of it", _python),
        Command("sh", "[COMMAND]", "type shell commands from here on, or run this one", _sh),
        Command("save", "[all] [NAME]", "append the last thing run (or all) as a cell of the step", _save),
        Command("restart", "", "a new shell and kernel", _restart),
        Command("help", "", "this", _help),
        Command("quit", "", "leave (also Ctrl-D)", _quit),
    )
}
