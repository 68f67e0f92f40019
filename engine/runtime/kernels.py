"""Which CPU kernels compute: our own in the patched llama.cpp where the machine gains by them, or its own.

The switch is the process's, not a model's: whoever opens a model sets it for all, so models that are open
at the same time must want the same. It is thrown before a model is loaded: `packed` decides where its weights
go, and they stay there. What `measure` found on this machine decides which types are packed, and whether
`matmul` takes the others; before anything was measured all of ours are on. `attention` is not measured.
"""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Literal

import msgspec

from engine.errors import EngineError
from engine.models import verify
from engine.models.quantisation import BLOCKS
from engine.request import Cancel
from engine.runtime import build, extension
from engine.runtime.threads import default_threads
from engine.settings import folders

Choice = Literal["auto", "stock"]
# A token; a draft, or lines at the cursor. A suggestion has about as many tokens of the one as of the other.
COLUMNS = (1, 16)
_ROWS = _WIDTH = 1024
_BYTES = 24 << 20  # more than the second-level caches
_ROUNDS = 2
# Ours stay unless they take so much longer: a neighbour on the machine must not decide.
CLEARLY = 1.1


class Measured(msgspec.Struct, frozen=True):
    """Nanoseconds of a product by type of weights and way (`extension.WAYS`), with one and with 16 columns.

    `machine` tells processor, threads and library apart: on another one nothing of it counts.
    """

    machine: str
    ns: dict[str, dict[str, tuple[int, int]]]

    @property
    def packed(self) -> frozenset[str]:
        """Types that are not clearly slower packed than in any other way."""
        return frozenset(kind for kind, ways in self.ns.items() if _worth(ways, "packed", _time))

    @property
    def matmul(self) -> bool:
        """Whether plain weights of no type are clearly slower with our kernel, 16 columns at once."""
        return not self.ns or any(_worth(ways, "in-place", lambda pair: pair[1]) for ways in self.ns.values())


def choose(choice: Choice = "auto") -> tuple[str, ...]:
    """Switch our kernels on, or off with "stock"; the names of those that are on. Nothing may be computing.

    A stock llama-cpp-python has none of ours, and a processor without their instructions neither.
    """
    names = extension.kernels() if choice == "auto" else ()
    found = measured() if names else None
    if found is not None:
        names = tuple(name for name in names if name != extension.MATMUL or found.matmul)
    if names:
        kept = found.packed if found is not None else frozenset()
        known = found.ns.keys() if found is not None else frozenset()
        extension.set_packed_types(
            *(kind for kind in extension.packable() if kind in kept or kind not in known)
        )
    extension.set_kernels(*names)
    return extension.kernels_on()


def measured() -> Measured | None:
    """What an earlier process measured on this machine with this library; None when nothing was."""
    try:
        found = msgspec.json.decode(_file().read_bytes(), type=Measured)
    except (OSError, msgspec.DecodeError):
        return None
    return found if found.machine == _machine() else None


def due(model: Path, *, also: Iterable[str] = ()) -> tuple[str, ...]:
    """Types of weights in the file `model`, and `also`, that could be packed and nobody has measured here."""
    known = found.ns if (found := measured()) is not None else {}
    kinds = {BLOCKS[tensor.kind][0] for tensor in verify.check(model).tensors if tensor.kind in BLOCKS}
    kinds.update(also)
    return tuple(kind for kind in extension.packable() if kind in kinds and kind not in known)


def machine_rests() -> bool:
    """Whether the machine does little else: less than half of its processors' time in the last minute."""
    return not hasattr(os, "getloadavg") or os.getloadavg()[0] < (os.cpu_count() or 1) / 2


def measure(kinds: Iterable[str], *, cancel: Cancel | None = None) -> None:
    """Time these types in each way, one or two seconds each, and keep what was found for later processes.

    Takes effect at the next `choose`. Nothing else may compute meanwhile in this process; between two
    products `cancel` ends it. What cannot be measured or written stays as it was.
    """
    known = found.ns if (found := measured()) is not None else {}
    for kind in kinds:
        times = _timed(kind, cancel)
        if times is None:
            return
        known = known | {kind: times}
        _keep(Measured(_machine(), known))


def _timed(kind: str, cancel: Cancel | None) -> dict[str, tuple[int, int]] | None:
    """By way; ways that there are not are left out. None when cancelled."""
    times: dict[tuple[str, int], list[int]] = {}
    for _ in range(_ROUNDS):
        for way in extension.WAYS:
            for columns in COLUMNS:
                if cancel is not None and cancel.is_set():
                    return None
                try:
                    took = extension.measure_product(
                        kind, way, rows=_ROWS, width=_WIDTH, columns=columns, threads=default_threads(),
                        at_least_bytes=_BYTES,
                    )  # fmt: skip
                except EngineError:
                    continue
                times.setdefault((way, columns), []).append(took)
    one, many = COLUMNS
    return {
        way: (min(times[way, one]), min(times[way, many]))
        for way in extension.WAYS
        if (way, one) in times and (way, many) in times
    }


def _time(pair: tuple[int, int]) -> float:
    return COLUMNS[1] * pair[0] + pair[1]


def _worth(ways: Mapping[str, tuple[int, int]], way: str, time: Callable[[tuple[int, int]], float]) -> bool:
    others = [time(pair) for name, pair in ways.items() if name != way]
    return way in ways and (not others or time(ways[way]) <= CLEARLY * min(others))


def _keep(found: Measured) -> None:
    try:
        _file().parent.mkdir(parents=True, exist_ok=True)
        draft = _file().with_suffix(".draft")
        draft.write_bytes(msgspec.json.encode(found))
        draft.replace(_file())
    except OSError:
        return  # measured again next time


def _file() -> Path:
    return folders().state / "kernels.json"


def _machine() -> str:
    """16 hex digits of the processor, the threads and the library."""
    facts = [_processor(), str(default_threads()), *build.files()]
    return hashlib.sha256("\n".join(facts).encode("utf-8", "replace")).hexdigest()[:16]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    named = ("model name", "CPU implementer", "CPU part")
    return "; ".join(
        dict.fromkeys(line.partition(":")[2].strip() for line in lines if line.startswith(named))
    )
