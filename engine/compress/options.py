"""What `steerway compress` was asked for, checked before anything large is loaded. Imports no torch."""

from __future__ import annotations

import importlib.util
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from engine.errors import UsageError

Method = Literal["magnitude", "wanda", "sparsegpt"]
Recover = Literal["none", "blocks", "distill", "lora"]
Device = Literal["auto", "cpu", "cuda"]
METHODS: tuple[Method, ...] = ("magnitude", "wanda", "sparsegpt")
TYPES = ("s24_0", "i3_0", "q4_0")
RECOVERIES: tuple[Recover, ...] = ("none", "blocks", "distill", "lora")
DEVICES: tuple[Device, ...] = ("auto", "cpu", "cuda")
RECOVER_TOKENS = 262_144
RANK = 16
# Rounds of GNU OpenMP's waiting loop; with its default a busy machine makes small steps six times slower.
_SPIN_COUNT = "3000"


@dataclass(frozen=True)
class Options:
    """The command's arguments. `layers` are the first and last block, None for all.

    `recover_tokens`, `rank` and `device` are None where they were not given; `training_tokens` and
    `lora_rank` say what holds then.
    """

    method: Method = "sparsegpt"
    kind: str = "s24_0"
    recover: Recover = "none"
    search: bool = False
    budget_bytes: int | None = None
    bits: float | None = None
    layers: tuple[int, int] | None = None
    calibration: Path | None = None
    calibration_tokens: int = 16_384
    recover_tokens: int | None = None
    rank: int | None = None
    device: Device | None = None

    @property
    def trains(self) -> bool:
        """Whether the whole model is trained after it was solved."""
        return self.recover in ("distill", "lora")

    @property
    def training_tokens(self) -> int:
        """How many tokens training sees, repeated ones counted."""
        return self.recover_tokens or RECOVER_TOKENS

    @property
    def lora_rank(self) -> int:
        """Of an adapter."""
        return self.rank or RANK

    def check(self) -> None:
        """Raises UsageError for what does not go together."""
        asked = self.budget_bytes is not None or self.bits is not None
        if asked != self.search:
            what = (
                "--search needs --budget or --bpw" if self.search else "--budget and --bpw are for --search"
            )
            raise UsageError(what, hint="`steerway compress --help` shows examples")
        if self.budget_bytes is not None and self.bits is not None:
            raise UsageError("--budget and --bpw say the same", hint="give one of them")
        training = {"--recover-tokens": self.recover_tokens, "--device": self.device}
        if not self.trains and (given := [name for name, value in training.items() if value is not None]):
            raise UsageError(f"{given[0]} is for training", hint="add --recover distill, or --recover lora")
        if self.rank is not None and self.recover != "lora":
            raise UsageError("--rank is that of an adapter", hint="add --recover lora")


def layers(text: str | None) -> tuple[int, int] | None:
    """`A-B` or `A` as numbers from 0, both ends counted. Raises UsageError."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d{1,4})(?:-(\d{1,4}))?", text)
    first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
    if first > last:
        raise UsageError(f"--layers {text!r} is no range", hint="give the first and last block: 0-11")
    return first, last


def need_torch() -> None:
    """Ready to import torch. Raises UsageError, with how to get it, where it is missing."""
    missing = [name for name in ("torch", "gguf") if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(
            f"compressing needs {' and '.join(missing)}",
            hint="install it with `pip install 'steerway[compress]'`",
        )
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = _SPIN_COUNT
