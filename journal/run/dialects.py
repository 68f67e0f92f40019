r"""How each shell is started so that it says where a command's output begins and ends.

The marks are those of FinalTerm and VS Code (`OSC 133 ; C` output begins, `OSC 133 ; D ; STATUS` it has
ended) with a run number of our own, so that output which happens to hold marks changes nothing. They are
written to the terminal itself: a cell that redirects its own output cannot lose them. No file of the user
is touched: the start-up file is a temporary one.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

_BASH = r"""
PS1= PS2=
unset HISTFILE; set +o history
__steerway_mark() { builtin printf '\033]133;%s\a' "$1" >"$__steerway_tty"; }
__steerway_prompt() {
  { local code=$? typed; set +eux; set +o pipefail; } 2>/dev/null
  # Once a run: after its mark, what arrives is the next command.
  if [[ -n ${__steerway_open-} ]]; then
    # What was typed ahead was meant for the cell: the shell must not take it for commands.
    while builtin read -t 0 <"$__steerway_tty"; do
      builtin read -r -t 0.01 typed <"$__steerway_tty" || break
    done
    __steerway_open=
    __steerway_mark "D;$code;steerway=${__steerway_run-}"
  fi
  return "$code"
}
__steerway_begin() {
  __steerway_run=$1 __steerway_open=1 __steerway_stop= PROMPT_COMMAND=__steerway_prompt PS1= PS2=
  set -E; trap "$__steerway_err" ERR
  __steerway_mark "C;steerway=$1"
}
# `set -e` must end the cell, not the shell that the next cell runs in: unwind to the cell's own level.
__steerway_err='{ __steerway_code=$?
  if [[ ${#BASH_SOURCE[@]} -gt 0 && ( $- == *e* || -n ${__steerway_stop-} ) ]]; then
    __steerway_stop=1; set +e; return "$__steerway_code"
  fi; } 2>/dev/null'
__steerway_open=1 PROMPT_COMMAND=__steerway_prompt
"""

_ZSH = r"""
unsetopt zle prompt_sp prompt_cr bang_hist
unset HISTFILE; PS1= PS2= RPS1=
__steerway_mark() { builtin printf '\033]133;%s\a' "$1" >"$__steerway_tty"; }
__steerway_prompt() {
  { local code=$?; setopt no_err_exit unset no_xtrace no_pipe_fail; } 2>/dev/null
  __steerway_mark "D;$code;steerway=${__steerway_run-}"
}
__steerway_begin() { __steerway_run=$1; __steerway_mark "C;steerway=$1"; }
precmd_functions=(__steerway_prompt)
"""

_SH = r"""
unset ENV
PS2=
__steerway_mark() { printf '\033]133;%s\a' "$1" >"$__steerway_tty"; }
__steerway_begin() { __steerway_run=$1; __steerway_mark "C;steerway=$1"; }
PS1="$(printf '\033]133;D;')"'$?;steerway=${__steerway_run-}'"$(printf '\a')"
"""

_FISH = r"""
set -g fish_greeting
function __steerway_mark; builtin printf '\033]133;%s\a' $argv[1] >$__steerway_tty; end
function __steerway_begin; set -g __steerway_run $argv[1]; __steerway_mark "C;steerway=$argv[1]"; end
# fish draws at the end of the output, before the prompt: what is shown ends here.
function __steerway_end --on-event fish_postexec; __steerway_mark "E;steerway=$__steerway_run"; end
function fish_prompt
    __steerway_mark "D;$status;steerway=$__steerway_run"
end
function fish_right_prompt; end
function fish_title; end
"""


def quote(text: str) -> str:
    """`text` as one word of a POSIX shell (also of zsh)."""
    return "'" + text.replace("'", "'\\''") + "'"


def _fish_quote(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


@dataclass(frozen=True)
class Dialect:
    """A shell's start-up file, its command line, and how a file is run in it.

    `command(program, folder)` gives the argument list; `rc_name` is the file in `folder` that gets `rc`.
    """

    name: str
    rc_name: str
    rc: str
    command: Callable[[str, Path], list[str]]
    quote: Callable[[str], str] = quote
    environment: Callable[[Path], dict[str, str]] = field(default=lambda folder: {})

    def start_up(self) -> str:
        """The start-up file's text."""
        name = "set -g __steerway_tty (tty)" if self.name == "fish" else "__steerway_tty=$(tty)"
        return f"{name}\n{self.rc}"

    def exports(self, variables: dict[str, str]) -> str:
        """Commands that put `variables` into the environment."""
        form = "set -gx {} {}\n" if self.name == "fish" else "export {}={}\n"
        return "".join(form.format(key, self.quote(value)) for key, value in variables.items())

    def source(self, path: Path, *, tty: str, stdin: str) -> str:
        """A command that runs the file in this shell; its redirections end with it."""
        word = "source" if self.name == "fish" else "."
        file, device = self.quote(str(path)), self.quote(tty)
        return f"{word} {file} <{self.quote(stdin)} >{device} 2>{device}\n"

    def line(self, outer: Path, run: str) -> str:
        """The one line that is typed."""
        word = "source" if self.name == "fish" else "."
        end = "; { __steerway_prompt; } 2>/dev/null" if self.name in ("bash", "zsh") else ""
        return f" __steerway_begin {run}; {word} {self.quote(str(outer))}{end}\n"


DIALECTS: dict[str, Dialect] = {
    "bash": Dialect(
        "bash",
        "rc.bash",
        _BASH,
        lambda program, folder: [
            program,
            "--noprofile",
            "--noediting",
            "--rcfile",
            str(folder / "rc.bash"),
            "-i",
        ],
    ),
    "zsh": Dialect(
        "zsh",
        ".zshrc",
        "unset ZDOTDIR\n" + _ZSH,
        lambda program, folder: [program, "--no-globalrcs", "-i"],
        environment=lambda folder: {"ZDOTDIR": str(folder)},
    ),
    "fish": Dialect(
        "fish",
        "rc.fish",
        _FISH,
        lambda program, folder: [
            program,
            "--no-config",
            "--private",
            "--init-command",
            f"source {_fish_quote(str(folder / 'rc.fish'))}",
            "-i",
        ],
        quote=_fish_quote,
    ),
    "sh": Dialect(
        "sh",
        "rc.sh",
        _SH,
        lambda program, folder: [program, "-i"],
        environment=lambda folder: {"ENV": str(folder / "rc.sh")},
    ),
}

# Cell kinds that a shell runs; `sh` is what people write for "my shell", so bash runs it where there is one.
SHELL_KINDS: dict[str, str] = {
    "sh": "",
    "shell": "",
    "bash": "bash",
    "zsh": "zsh",
    "fish": "fish",
    "dash": "sh",
}


def default_dialect(preferred: str = "") -> str:
    """The shell of `sh` cells: the preferred one, else bash, else plain sh."""
    name = Path(preferred).name
    if name in DIALECTS and shutil.which(preferred):
        return name
    return "bash" if shutil.which("bash") else "sh"
