"""Where training computes: the device, and whether bfloat16 products are faster there."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import torch

from engine.compress.network import Place
from engine.errors import UsageError

# In a process of its own: oneDNN's bfloat16 ends the process (illegal instruction) on virtual machines whose
# processor announces AMX without the shape of its tiles (CPUID leaf 0x1d all zeros).
_PROBE = """
import sys, time, torch
torch.set_num_threads(int(sys.argv[1]))
def seconds(kind):
    a, b = torch.ones(1024, 768, dtype=kind), torch.ones(1536, 768, dtype=kind)
    found = []
    for _ in range(8):
        start = time.perf_counter()
        torch.nn.functional.linear(a, b)
        found.append(time.perf_counter() - start)
    return min(found)
print(seconds(torch.float32) / seconds(torch.bfloat16))
"""
_WORTH_IT = 1.5
_PATIENCE_SECONDS = 120.0


def choose(device: str, narrate: Callable[[str], None]) -> Place:
    """`device` is auto (a GPU where torch sees one), cpu or cuda.

    Raises UsageError for a GPU that is not there.
    """
    seen = torch.cuda.is_available()
    if device == "cuda" and not seen:
        raise UsageError("torch sees no CUDA device", hint="install torch for CUDA, or use --device cpu")
    if seen and device != "cpu":
        precision = torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
        place = Place(torch.device("cuda"), precision)
    else:
        place = Place(torch.device("cpu"), torch.bfloat16 if _narrow_is_faster() else torch.float32)
    narrate(f"training on {place.device.type}, products in {str(place.precision).removeprefix('torch.')}")
    return place


def _narrow_is_faster() -> bool:
    """Whether bfloat16 products work on this CPU and are worth it; takes some seconds."""
    command = [sys.executable, "-c", _PROBE, str(torch.get_num_threads())]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE_SECONDS, check=False)
        return done.returncode == 0 and float(done.stdout) > _WORTH_IT
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return False
