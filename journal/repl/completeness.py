"""Whether what was typed can run, or wants another line."""

from __future__ import annotations

import codeop
import shutil
import subprocess
import warnings

_UNFINISHED = ("unexpected end of file", "unexpected EOF", "here-document", "Unterminated quoted string")


def is_complete(text: str, mode: str) -> bool:
    """Whether `text` stands on its own in this mode ("sh" or "python"). What is wrong is complete too."""
    if not text.strip() or text.lstrip().startswith(":"):
        return True
    return _python(text) if mode == "python" else _shell(text)


def _python(text: str) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return codeop.compile_command(text, symbol="exec") is not None or text.startswith("%")
        except (SyntaxError, ValueError, OverflowError):
            return True


def _shell(text: str) -> bool:
    if text.endswith("\\") and not text.endswith("\\\\"):
        return False
    shell = shutil.which("bash") or "/bin/sh"
    try:
        check = subprocess.run(
            [shell, "-n"],
            input=text + "\n",
            capture_output=True,
            text=True,
            errors="replace",
            timeout=2,
            check=False,
            env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return True
    return not any(sign in check.stderr for sign in _UNFINISHED)
