"""Which CPU kernels compute: our own in the patched llama.cpp where this processor has them, or llama.cpp's.

The switch is the process's, not a model's: whoever opens a model sets it for all, so models that are open
at the same time must want the same. It is thrown before a model is loaded: `packed` decides where its weights
go, and they stay there.
"""

from __future__ import annotations

from typing import Literal

from engine.runtime import extension

Choice = Literal["auto", "stock"]


def choose(choice: Choice = "auto") -> tuple[str, ...]:
    """Switch our kernels on, or off with "stock"; the names of those that are on. Nothing may be computing.

    A stock llama-cpp-python has none of ours, and a processor without their instructions neither.
    """
    extension.set_kernels(*(extension.kernels() if choice == "auto" else ()))
    return extension.kernels_on()
