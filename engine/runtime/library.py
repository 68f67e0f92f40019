"""llama.cpp's shared library, loaded once, quietly, with its threads' spinning bounded."""

from __future__ import annotations

import ctypes
import functools
import os
import sys
from collections import deque
from types import ModuleType
from typing import Any, cast

from engine.errors import EngineUnavailable

_LOG_LINES = 200
# Rounds of GNU OpenMP's waiting loop before a thread sleeps: some microseconds.
SPIN_COUNT = "3000"
_log: deque[str] = deque(maxlen=_LOG_LINES)
_native_callback: Any = None


@functools.cache
def load() -> ModuleType:
    """The module of llama.cpp's C functions. Raises EngineUnavailable when it is missing or does not load."""
    _bound_spinning()
    try:
        import llama_cpp.llama_cpp as functions
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        raise EngineUnavailable(
            f"llama.cpp does not load ({_first_line(error)})",
            hint="install it with `pip install ./native`; `steerway doctor` shows more",
        ) from error
    _capture_log(functions)
    functions.llama_backend_init()
    return cast(ModuleType, functions)


def _bound_spinning() -> None:
    """Let waiting threads spin for microseconds, then sleep. Must happen before the OpenMP runtime loads.

    A thread that spins for one that has no core stalls a token for seconds (2,748 ms with both cores busy and
    GNU OpenMP's default); one that sleeps at once costs an idle machine a third of its speed. docs/engine.md
    has the measurements.
    """
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = SPIN_COUNT


def _capture_log(functions: ModuleType) -> None:
    global _native_callback
    # The library keeps only the address: this object must outlive it.
    _native_callback = functions.llama_log_callback(_on_log)
    functions.llama_log_set(_native_callback, ctypes.c_void_p(0))


def _on_log(level: int, text: bytes, _data: object) -> None:
    line = text.decode("utf-8", "replace")
    _log.append(line)
    # The terminal belongs to whoever is above: nothing is written unless a person asked for it.
    if os.environ.get("STEERWAY_DEBUG") in ("2", "3"):
        sys.stderr.write(line)


def log_text() -> str:
    """The last messages of llama.cpp."""
    return "".join(_log)


def clear_log() -> None:
    """Forget llama.cpp's messages so far."""
    _log.clear()


def last_complaint() -> str:
    """The most telling line llama.cpp said before it failed; empty when it said nothing."""
    lines = [line.strip() for line in log_text().splitlines()]
    telling = [line for line in lines if "error" in line.lower() or "failed" in line.lower()]
    chosen = next((line for line in telling if "error loading" in line.lower()), None)
    return chosen or (telling[0] if telling else "")


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
