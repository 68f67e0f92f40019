"""Which Jupyter kernel runs a kind of cell. Nothing is started to find out."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from journal.errors import CellNotRunnable

PYTHON_KINDS = frozenset({"python", "python3", "py", "ipython"})


@dataclass(frozen=True)
class KernelChoice:
    """A kernel's command line (`{connection_file}` in it), environment, and how it is interrupted.

    `remark` is one line about the choice that a person should see, or "".
    """

    name: str
    language: str
    command: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)
    interrupt_mode: str = "signal"
    remark: str = ""


def kernel_for(kind: str, root: Path) -> KernelChoice:
    """The kernel of cells of `kind`: for python the workspace's own environment if it has ipykernel.

    Raises CellNotRunnable when no installed kernel speaks the language.
    """
    if kind in PYTHON_KINDS:
        return _python(root)
    found = _installed().get(kind.lower())
    if found is None:
        raise CellNotRunnable(
            f"nothing on this machine runs {kind} cells", hint=f"install a Jupyter kernel for {kind}"
        )
    return found


def _python(root: Path) -> KernelChoice:
    own = workspace_environment(root)
    if own is None:
        return _python_kernel(Path(sys.executable), {})
    if not any(own.glob("lib/python3*/site-packages/ipykernel/__init__.py")):
        remark = (
            f"{own.name} in the workspace has no ipykernel, so python cells run in Steerway's own Python "
            f"(`{own.name}/bin/python -m pip install ipykernel` changes that)"
        )
        return _python_kernel(Path(sys.executable), {}, remark)
    path = os.pathsep.join((str(own / "bin"), os.environ.get("PATH", os.defpath)))
    return _python_kernel(own / "bin" / "python", {"VIRTUAL_ENV": str(own), "PATH": path})


def _python_kernel(interpreter: Path, environment: dict[str, str], remark: str = "") -> KernelChoice:
    command = (str(interpreter), "-m", "ipykernel_launcher", "-f", "{connection_file}")
    return KernelChoice("python3", "python", command, environment, remark=remark)


def workspace_environment(root: Path) -> Path | None:
    """The virtual environment that lies in the workspace, None when there is none."""
    for name in (".venv", "venv"):
        if (root / name / "bin" / "python").exists():
            return root / name
    return None


@lru_cache(maxsize=1)
def _installed() -> dict[str, KernelChoice]:
    """Installed kernels by name and by language."""
    from jupyter_client.kernelspec import KernelSpecManager

    choices: dict[str, KernelChoice] = {}
    for name, row in KernelSpecManager().get_all_specs().items():
        spec = row["spec"]
        choice = KernelChoice(
            name,
            spec["language"],
            tuple(part.replace("{resource_dir}", row["resource_dir"]) for part in spec["argv"]),
            dict(spec.get("env", {})),
            spec.get("interrupt_mode", "signal"),
        )
        choices.setdefault(str(spec["language"]).lower(), choice)
        choices[name.lower()] = choice
    return choices
