"""The table of actions. Keys, help, palette, key bar and docs are all made from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from textual.binding import Binding, BindingType

Target = Literal["journal", "cells", "steps", "editor"]
"""Where an action's keys work: anywhere in the journal, in the list of cells, of steps, in the editor."""

GROUPS = ("Move", "Run", "Edit", "Editor", "Steps", "File", "View")


@dataclass(frozen=True)
class Action:
    """One thing a person can do. `keys` are Textual's names; `short` is the key bar's word for it."""

    id: str
    target: Target
    action: str
    description: str
    keys: tuple[str, ...]
    group: str
    short: str = ""
    palette: bool = True

    @property
    def shown_keys(self) -> str:
        """The keys as a person reads them."""
        return "  ".join(key_name(key) for key in self.keys)


_NAMES = {
    "enter": "Enter", "escape": "Esc", "tab": "Tab", "shift+tab": "Shift+Tab", "space": "Space",
    "up": "↑", "down": "↓", "home": "Home", "end": "End", "pageup": "PgUp", "pagedown": "PgDn",
    "delete": "Del", "f1": "F1", "f4": "F4",
    "question_mark": "?", "exclamation_mark": "!", "left_square_bracket": "[", "slash": "/",
    "right_square_bracket": "]", "alt+up": "Alt+↑", "alt+down": "Alt+↓",
}  # fmt: skip


def key_name(key: str) -> str:
    """A key as it is printed: `ctrl+s` is Ctrl+S."""
    if key in _NAMES:
        return _NAMES[key]
    *modifiers, last = key.split("+")
    return "+".join([*(word.capitalize() for word in modifiers), last.upper() if modifiers else last])


def _a(
    id: str, target: Target, keys: str, group: str, description: str, short: str = "", *, palette: bool = True
) -> Action:
    name = id.replace(".", "_").replace("-", "_")
    return Action(id, target, name, description, tuple(keys.split()), group, short, palette)


ACTIONS: tuple[Action, ...] = (
    _a("move.next-cell", "cells", "j down", "Move", "go to the next cell", palette=False),
    _a("move.previous-cell", "cells", "k up", "Move", "go to the previous cell", palette=False),
    _a("move.first-cell", "cells", "g home", "Move", "go to the first cell"),
    _a("move.last-cell", "cells", "G end", "Move", "go to the last cell"),
    _a("move.page-down", "cells", "ctrl+d pagedown", "Move", "scroll down", palette=False),
    _a("move.page-up", "cells", "ctrl+u pageup", "Move", "scroll up", palette=False),
    _a("move.next-step", "journal", "right_square_bracket", "Move", "go to the next step"),
    _a("move.previous-step", "journal", "left_square_bracket", "Move", "go to the previous step"),
    _a("move.find", "journal", "slash", "Move", "find text in the journal", "find"),
    _a("move.find-again", "journal", "n", "Move", "find the same text again"),
    _a("move.next-pane", "journal", "tab", "Move", "go to the next pane", palette=False),
    _a("move.previous-pane", "journal", "shift+tab", "Move", "go to the previous pane", palette=False),
    _a("run.cell", "journal", "r", "Run", "run the cell", "run"),
    _a("run.step", "journal", "R", "Run", "run the step", "step"),
    _a("run.above", "journal", "B", "Run", "run all cells above and this one"),
    _a("run.all", "journal", "A", "Run", "run all cells"),
    _a("run.interrupt", "journal", "ctrl+c x", "Run", "interrupt what runs"),
    _a("run.restart", "journal", "X", "Run", "restart shells and kernels; their variables are lost"),
    _a("run.type", "journal", "i", "Run", "type a line to the running cell"),
    _a("run.fold-output", "journal", "o", "Run", "show all of the output, or a symbol's uses; or less"),
    _a("run.copy-output", "journal", "Y", "Run", "copy the cell's output"),
    _a("edit.cell", "journal", "enter e", "Edit", "edit the cell", "edit"),
    _a("edit.in-editor", "journal", "E", "Edit", "edit the cell in $VISUAL or $EDITOR"),
    _a("edit.add", "journal", "a", "Edit", "add a cell behind this one", "add"),
    _a("edit.delete", "journal", "d delete", "Edit", "delete the cell"),
    _a("edit.move-down", "journal", "J alt+down", "Edit", "move the cell, or the whole step, down"),
    _a("edit.move-up", "journal", "K alt+up", "Edit", "move the cell, or the whole step, up"),
    _a("edit.copy", "journal", "y", "Edit", "copy the cell's text"),
    _a("edit.undo", "journal", "u ctrl+z", "Edit", "undo", "undo"),
    _a("edit.redo", "journal", "U ctrl+y", "Edit", "redo"),
    _a("edit.take-ours", "journal", "1", "Edit", "settle a conflict: ours"),
    _a("edit.take-theirs", "journal", "2", "Edit", "settle a conflict: theirs"),
    _a("edit.take-both", "journal", "3", "Edit", "settle a conflict: both"),
    _a("step.current", "journal", "s", "Steps", "make this step the current one", "be here"),
    _a("step.state", "journal", "t", "Steps", "change the step's state: todo, doing, done, dropped"),
    _a("steps.next", "steps", "j down", "Steps", "next step in the list", palette=False),
    _a("steps.previous", "steps", "k up", "Steps", "previous step in the list", palette=False),
    _a("steps.open", "steps", "enter", "Steps", "go to the step's cells", palette=False),
    _a("file.save", "journal", "ctrl+s", "File", "save", "save"),
    _a("file.save-as", "journal", "S", "File", "save under another name"),
    _a("file.reload", "journal", "ctrl+r", "File", "read the file again"),
    _a("file.problems", "journal", "exclamation_mark", "File", "show what is wrong with the journal"),
    _a("file.quit", "journal", "q ctrl+q", "File", "quit", "quit"),
    _a("view.help", "journal", "question_mark f1", "View", "show all keys", "help"),
    _a("view.palette", "journal", "ctrl+p", "View", "search all actions", "actions", palette=False),
    _a("view.context", "journal", "c", "View", "show or hide the context", "context"),
    _a("view.steps", "journal", "b", "View", "show or hide the steps"),
    _a("view.theme", "journal", "T", "View", "dark or light"),
    _a("editor.done", "editor", "escape", "Editor", "keep the text and close", "done", palette=False),
    _a("editor.run", "editor", "ctrl+r", "Editor", "keep the text and run the cell", "run", palette=False),
    _a("editor.save", "editor", "ctrl+s", "Editor", "keep the text and save", "save", palette=False),
    _a("editor.outside", "editor", "f4", "Editor", "go on in $EDITOR", "$EDITOR", palette=False),
)  # fmt: skip


def bindings(target: Target) -> list[BindingType]:
    """Textual's bindings of a target."""
    prefix = "screen." if target == "editor" else ""
    return [
        Binding(
            ",".join(action.keys),
            prefix + action.action,
            action.description,
            id=action.id,
            show=False,
            # A text area has its own idea of most of these.
            priority=target == "editor",
        )
        for action in ACTIONS
        if action.target == target
    ]


BY_ID = {action.id: action for action in ACTIONS}

BAR = (
    "run.cell", "edit.cell", "edit.add", "file.save", "edit.undo", "step.current", "view.help", "file.quit",
    "run.step", "move.find", "view.context", "view.palette",
)  # fmt: skip
"""What the key bar shows, as far as there is room."""


def keys_table() -> str:
    """The table of keys in `docs/tui.md`; a test holds the page against it."""
    rows = ["| | keys | what they do |", "|---|---|---|"]
    for group in GROUPS:
        for action in ACTIONS:
            if action.group == group:
                keys = ", ".join(f"`{key_name(key)}`" for key in action.keys)
                rows.append(f"| {group} | {keys} | {action.description} |")
    return "\n".join(rows) + "\n"
