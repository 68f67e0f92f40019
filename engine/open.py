"""One door to every back end: a model's name, a file, an address, or `fake`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.errors import ModelUnknown
from engine.runtime.base import Engine

if TYPE_CHECKING:
    from engine.settings import Settings


def open_engine(model: str | None = None, *, settings: Settings | None = None) -> Engine:
    """The engine that runs `model`.

    None is the settings' model; `fake` the deterministic engine (`fake:MS`: so many milliseconds a token);
    `remote:URL#NAME` an OpenAI-compatible endpoint; else a catalogue name or the path of a GGUF file. Raises
    ModelUnknown, ModelFileMissing, ModelFileCorrupt, ModelUnsupported, EngineUnavailable.
    """
    if model is not None and model.partition(":")[0] == "fake":
        return _open_fake(model)
    from engine import settings as configuration

    settings = settings or configuration.load()
    model = model or settings.model
    kind, _, rest = model.partition(":")
    if kind == "fake":
        return _open_fake(model)
    if kind == "remote":
        return _open_remote(rest, settings)
    return _open_local(model, settings)


def _open_fake(model: str) -> Engine:
    from engine.runtime.fake import FakeEngine

    delay = model.partition(":")[2] or "0"
    try:
        return FakeEngine(token_delay_ms=float(delay))
    except ValueError:
        raise ModelUnknown(f"no delay in {model!r}", hint="write fake or fake:MILLISECONDS") from None


def _open_remote(address: str, settings: Settings) -> Engine:
    from engine.runtime.remote import RemoteEngine

    url, _, name = address.partition("#")
    if not url.startswith(("http://", "https://")):
        raise ModelUnknown(f"no address in 'remote:{address}'", hint="write remote:http://HOST:PORT#MODEL")
    return RemoteEngine(url, model=name or None, context_tokens=settings.context_tokens)


def _open_local(model: str, settings: Settings) -> Engine:
    from engine.models import provision
    from engine.runtime.local import LocalEngine

    path = provision.locate(model)
    return LocalEngine(path, n_ctx=settings.context_tokens, threads=settings.threads, reuse=settings.reuse)
