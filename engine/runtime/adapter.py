"""A LoRA adapter loaded onto a model: what `steerway compress --recover lora` wrote beside it."""

from __future__ import annotations

import ctypes
from pathlib import Path

from engine.errors import EngineError, ModelFileCorrupt, ModelFileMissing, ModelUnsupported
from engine.models import verify
from engine.models.header import Header
from engine.runtime import library
from engine.runtime.context import Context
from engine.runtime.llama import Model


class Adapter:
    """The adapter in the file `path`, for `model`.

    Load it before a Context of the model is made: llama.cpp makes room for its graph nodes then. It is freed
    with the model. Raises ModelFileMissing, ModelFileCorrupt, and ModelUnsupported for an adapter of another
    model.
    """

    def __init__(self, model: Model, path: Path) -> None:
        model.check_open()
        _check(model, path)
        self._c, self._model, self.path = library.load(), model, path
        library.clear_log()
        self.handle = self._c.llama_adapter_lora_init(model.handle, str(path).encode())
        if not self.handle:
            raise ModelUnsupported(
                f"{path.name} does not fit {model.path.name} ({library.last_complaint()})",
                hint="use the adapter that was made with this file", subject=path,
            )  # fmt: skip

    def attach(self, context: Context, *, scale: float = 1.0) -> None:
        """Add it, `scale` times, to every decode of `context` from now on; 0 takes it off.

        What the context's cache holds already was computed without it: clear that first. Raises EngineError.
        """
        self._model.check_open()
        if context.closed:
            raise EngineError("the context was closed", hint="open it again")
        adapters = (ctypes.POINTER(ctypes.c_void_p) * 1)(
            ctypes.cast(self.handle, ctypes.POINTER(ctypes.c_void_p))
        )
        scales = (ctypes.c_float * 1)(scale)
        status = self._c.llama_set_adapters_lora(context.handle, adapters, 1, scales)
        if status != 0:
            raise EngineError(f"llama.cpp did not take the adapter ({status})", hint="run without it")


def _check(model: Model, path: Path) -> None:
    """What native code would assert or misread."""
    if not path.is_file():
        raise ModelFileMissing(f"no adapter file {path}", hint="check the path", subject=path)
    found = verify.check(path)
    meta = found.metadata
    if meta.get("general.type") != "adapter" or meta.get("adapter.type") != "lora":
        raise ModelUnsupported(
            f"{path.name} is no LoRA adapter", hint="give it as the model instead", subject=path
        )
    if meta.get("general.architecture") != model.metadata.get("general.architecture"):
        name = meta.get("general.architecture")
        raise ModelUnsupported(
            f"{path.name} is for a {name} model", hint="use it with its own model", subject=path
        )
    if odd := _unpaired(found):
        raise ModelFileCorrupt(
            f"{path.name} has {odd} without its other half", hint="make it again", subject=path
        )


def _unpaired(found: Header) -> str:
    names = {tensor.name for tensor in found.tensors}
    halves = {".lora_a": ".lora_b", ".lora_b": ".lora_a"}
    for name in sorted(names):
        end = name[-7:]
        if end not in halves or name[:-7] + halves[end] not in names:
            return name
    return ""
