"""The engine's half of `steerway doctor`: what is here, whether it works, and what to do if not."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from engine.runtime.probe import Library
    from engine.settings import Settings

Status = Literal["ok", "warn", "fail"]
LOW_DISK_BYTES = 2_000_000_000
# What makes a difference of more than a few per cent to llama.cpp, by its own name for it.
CPU_FLAGS = {"avx2": "AVX2", "fma": "FMA", "f16c": "F16C", "avx512f": "AVX512", "avx512_vnni": "AVX512_VNNI"}


@dataclass(frozen=True)
class Check:
    """One line of the report: what was looked at, how it is, what was found, and what to do about it."""

    name: str
    status: Status
    found: str
    advice: str = ""


Probe = Callable[[], Check | Iterator[Check]]


def run(probes: dict[str, Probe]) -> Iterator[Check]:
    """The checks of every probe in order. One that breaks is a warning of its own, not the end."""
    for name, probe in probes.items():
        try:
            result = probe()
            yield from [result] if isinstance(result, Check) else list(result)
        except Exception as error:  # the doctor has to outlive whatever is broken
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            yield Check(name, "warn", f"could not be checked: {reason[:200]}")


def engine_checks() -> Iterator[Check]:
    """Every check of the engine's side, each cheap but the native library's (about a second)."""
    library = _once(_library)
    yield from run(
        {
            "python": python,
            "steerway": steerway,
            "settings": settings_file,
            "folders": user_folders,
            "disk": free_disk,
            "llama-cpp-python": lambda: native_library(library()),
            "patches": lambda: patches(library()),
            "cpu": lambda: cpu(library()),
            "gpu": lambda: gpu(library()),
            "threads": threads,
            "model": model,
            "reuse": lambda: reuse(library()),
            "grammars": grammars,
        }
    )


def _once(ask: Callable[[], Library]) -> Callable[[], Library]:
    answers: list[Library] = []

    def answer() -> Library:
        if not answers:
            answers.append(ask())
        return answers[0]

    return answer


def _library() -> Library:
    from engine.runtime.probe import probe

    return probe()


def _settings() -> Settings:
    """The person's settings, or the defaults where their file is off (a check of its own says so)."""
    from engine.errors import SettingsError
    from engine.settings import Settings, load

    try:
        return load()
    except SettingsError:
        return Settings()


def python() -> Check:
    """The interpreter, and whether Steerway supports it."""
    found = f"{platform.python_version()} at {sys.executable}"
    supported = (3, 11) <= sys.version_info[:2] <= (3, 14)
    advice = "" if supported else "Steerway is tested with Python 3.11 to 3.14"
    return Check("python", "ok" if supported else "warn", found, advice)


def steerway() -> Check:
    """The installed distribution."""
    where = Path(__file__).resolve().parent.parent
    try:
        return Check("steerway", "ok", f"{metadata.version('steerway')} in {where}")
    except metadata.PackageNotFoundError:
        return Check(
            "steerway", "warn", f"not installed, run from {where}", "install it with `pip install .`"
        )


def settings_file() -> Check:
    """The settings file and the environment's overrides."""
    from engine.errors import SettingsError
    from engine.settings import ENVIRONMENT, PREFIX, folders, load, table

    file = folders().settings_file
    try:
        load()
    except SettingsError as error:
        return Check("settings", "fail", error.message, error.hint)
    known = {row.variable for row in table()} | ENVIRONMENT.keys()
    mine = sorted(key for key in os.environ if key.startswith(PREFIX))
    strange = [key for key in mine if key not in known]
    if strange:
        return Check("settings", "warn", f"unknown: {', '.join(strange)}", "check the spelling, or unset it")
    found = str(file) if file.exists() else f"defaults ({file} does not exist)"
    return Check("settings", "ok", f"{found}; {', '.join(mine)}" if mine else found)


def user_folders() -> Iterator[Check]:
    """Whether the user's folders can be written."""
    from engine.settings import folders

    places = folders()
    for name, folder in (("cache", places.cache), ("config", places.config), ("state", places.state)):
        standing = next(parent for parent in (folder, *folder.parents) if parent.exists())
        if standing.is_dir() and os.access(standing, os.W_OK | os.X_OK):
            yield Check(f"{name} folder", "ok", str(folder))
        else:
            # Settings are read only; without the other two nothing can be kept.
            status: Status = "warn" if name == "config" else "fail"
            advice = f"make {standing} writable, or set STEERWAY_HOME to a folder of yours"
            yield Check(f"{name} folder", status, f"{folder} cannot be written", advice)


def free_disk() -> Check:
    """Room for models where they are stored."""
    from engine.models.progress import megabytes
    from engine.settings import folders

    cache = folders().cache
    standing = next(parent for parent in (cache, *cache.parents) if parent.exists())
    free = shutil.disk_usage(standing).free
    if free < LOW_DISK_BYTES:
        return Check("disk", "warn", f"{megabytes(free)} free", "a model needs 0.5 to 1.2 GB: make room")
    return Check("disk", "ok", f"{megabytes(free)} free for models")


def native_library(library: Library) -> Check:
    """Whether llama.cpp loads."""
    if not library.problem:
        return Check("llama-cpp-python", "ok", _distribution() or library.version)
    advice = "reinstall it with `pip install --force-reinstall ./native`, on the machine it is to run on"
    return Check("llama-cpp-python", "fail", f"does not load: {library.problem}", advice)


def _distribution() -> str:
    try:
        return metadata.version("llama-cpp-python")
    except metadata.PackageNotFoundError:
        return ""


def patches(library: Library) -> Check:
    """Which of Steerway's own features the library has."""
    if library.features:
        return Check("patches", "ok", ", ".join(library.features))
    if library.problem:
        return Check("patches", "warn", "unknown, the library does not load")
    advice = "it works, but a keystroke recomputes more: `pip install ./native` builds the patched one"
    return Check("patches", "warn", "none, this is the stock library", advice)


def cpu(library: Library) -> Check:
    """Whether the library uses what this CPU offers."""
    if platform.machine() in ("arm64", "aarch64"):
        return Check("cpu", "ok", f"{platform.machine()}, NEON")
    offered = _cpu_flags()
    if offered is None:
        return Check("cpu", "ok", f"{platform.machine()}, flags unknown")
    if "avx2" not in offered:
        return Check("cpu", "warn", "no AVX2", "expect a slow engine; a smaller model or a remote one helps")
    built = library.system.replace(" ", "")
    unused = [name for flag, name in CPU_FLAGS.items() if flag in offered and f"{name}=1" not in built]
    found = ", ".join(name for flag, name in CPU_FLAGS.items() if flag in offered)
    if unused and not library.problem:
        advice = "build the library on this machine: `pip install --force-reinstall ./native`"
        return Check("cpu", "warn", f"{found}; the library does not use {', '.join(unused)}", advice)
    return Check("cpu", "ok", found)


def _cpu_flags() -> set[str] | None:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return None
    return next((set(line.split(":", 1)[1].split()) for line in lines if line.startswith("flags")), None)


def gpu(library: Library) -> Check:
    """A GPU, and whether the library can use it. None is fine."""
    if sys.platform == "darwin" and platform.machine() == "arm64":
        return Check("gpu", "ok", f"Metal, {'used' if library.gpu else 'not used by this library'}")
    cards = _nvidia()
    if not cards:
        return Check("gpu", "ok", "none, the CPU is used")
    if library.gpu or library.problem:
        return Check("gpu", "ok", cards)
    advice = "build the library for it: `STEERWAY_CUDA=1 pip install --force-reinstall ./native`"
    return Check("gpu", "warn", f"{cards}, not used by this library", advice)


def _nvidia() -> str:
    command = shutil.which("nvidia-smi")
    if command is None:
        return ""
    query = [command, "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=10, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return "; ".join(answer.stdout.split("\n")).strip("; ") if answer.returncode == 0 else ""


def threads() -> Check:
    """Processors this process may use, and the setting."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    wanted = _settings().threads
    found = f"{usable} processors, threads {wanted or 'chosen by the engine'}"
    if wanted > usable:
        return Check("threads", "warn", found, "more threads than processors are slower: set threads to 0")
    return Check("threads", "ok", found)


def model() -> Check:
    """The model of the settings: here, and what it should be."""
    from engine.errors import ModelError
    from engine.models import provision
    from engine.models.progress import megabytes

    wanted = _settings().model
    if wanted.partition(":")[0] in ("remote", "fake"):
        return Check("model", "ok", wanted)
    try:
        path = provision.locate(wanted)
    except ModelError as error:
        return Check("model", "fail", error.message, error.hint)
    return Check("model", "ok", f"{wanted}, {megabytes(path.stat().st_size)}, checked: {path}")


def reuse(library: Library) -> Iterator[Check]:
    """How documents are reused for the model of the settings, and what the caches on disk hold."""
    from engine.models import provision
    from engine.standing import describe, describe_caches, describe_cost, standing

    settings = _settings()
    if settings.model.partition(":")[0] in ("remote", "fake"):
        yield Check("reuse", "ok", "up to the server" if settings.model.startswith("remote") else "none")
        return
    found = standing(provision.locate(settings.model), settings, library)
    failed = (found["selftest"] or {}).get("verdict") in ("off", "exact")
    advice = "reinstall the library with `pip install --force-reinstall ./native`" if failed else ""
    yield Check("reuse", "warn" if failed else "ok", "; ".join(describe(found)), advice)
    yield Check("speed", "ok", "; ".join(describe_cost(found["cost"])) or "measured at the first suggestion")
    disk = found["disk"]
    advice = f"make {disk['folder']} yours and writable" if disk["problem"] and disk["budget_bytes"] else ""
    yield Check("kv cache", "warn" if advice else "ok", "; ".join(describe_caches(found)), advice)


def grammars() -> Check:
    """Languages whose structure can be read."""
    from engine.grammars import available

    found = available()
    missing = [language for language, there in found.items() if not there]
    if missing:
        advice = "reinstall Steerway; without a grammar, text-only rules apply to that language"
        return Check("grammars", "warn", f"missing: {', '.join(missing)}", advice)
    return Check("grammars", "ok", ", ".join(found))
