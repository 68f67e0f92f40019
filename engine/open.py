"""One door to every back end: a model's name, a file, an address or `fake`, here or in its own process."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from engine.errors import EngineUnavailable, ModelUnknown
from engine.runtime.base import Engine

if TYPE_CHECKING:
    from pathlib import Path

    from engine.runtime.address import Spec
    from engine.runtime.client import EngineClient
    from engine.runtime.job import Serving
    from engine.settings import Settings

Where = Literal["shared", "inline"]


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


def open_thread(
    model: str | None = None,
    *,
    settings: Settings | None = None,
    where: Where | None = None,
    name: str = "",
    on_wait: Callable[[str], None] | None = None,
    warn: Callable[[str], None] | None = None,
) -> Serving:
    """An engine that serves many clients: `model`'s shared process, or a thread of this one.

    `where` None is what the settings say. `fake` and `remote` run here, and so does every model where there
    can be no socket, after one line to `warn` (default: stderr). Nothing is loaded before it is needed: what
    loading raises, the first future raises. `name` is for `steerway engine status`. Raises SettingsError.
    """
    client = _client(model, settings, where, name, on_wait, warn)
    if client is not None:
        return client
    from engine.runtime.worker import EngineThread

    return EngineThread(lambda: open_engine(model, settings=settings))


def open_shared(
    model: str | None = None,
    *,
    settings: Settings | None = None,
    where: Where | None = None,
    name: str = "",
    on_wait: Callable[[str], None] | None = None,
    warn: Callable[[str], None] | None = None,
) -> Engine:
    """Like `open_thread`, as an Engine for a command that asks one thing. Raises as `open_engine` does."""
    client = _client(model, settings, where, name, on_wait, warn)
    if client is None:
        return open_engine(model, settings=settings)
    from engine.runtime.shared import SharedEngine

    return SharedEngine(client)


def wanted(model: str | None, settings: Settings) -> Spec:
    """Which process serves `model` (None: the settings') under `settings`. Raises ModelError."""
    from engine.models import provision
    from engine.runtime.address import Spec

    file = _form(provision.locate(model or settings.model), settings)
    return Spec(str(file), _from_anywhere(settings))


def _from_anywhere(settings: Settings) -> Settings:
    """With paths that mean the same in a process that runs in another folder."""
    if not settings.adapter:
        return settings
    from pathlib import Path

    import msgspec

    return msgspec.structs.replace(settings, adapter=str(Path(settings.adapter).expanduser().absolute()))


def _form(path: Path, settings: Settings) -> Path:
    """The optimised form of a model file where there is one and the settings want it."""
    if settings.model_form == "shipped":
        return path
    from engine.models import variants

    return variants.preferred(path)


def _client(
    model: str | None,
    settings: Settings | None,
    where: Where | None,
    name: str,
    on_wait: Callable[[str], None] | None,
    warn: Callable[[str], None] | None,
) -> EngineClient | None:
    """A client of the shared process; None where the engine runs in this one."""
    if model is not None and model.partition(":")[0] == "fake":
        return None
    from engine import settings as configuration

    known = settings or configuration.load()
    kind = (model or known.model).partition(":")[0]
    if (where or known.engine) == "inline" or kind in ("fake", "remote"):
        return None
    from engine.runtime.address import check_sockets
    from engine.runtime.client import EngineClient

    try:
        check_sockets()
    except EngineUnavailable as error:
        (warn or _warn)(f"the engine is not shared: {error}")
        return None
    return EngineClient(lambda: wanted(model, known), name=name, on_wait=on_wait or (lambda message: None))


def _warn(message: str) -> None:
    print(f"steerway: {message}", file=sys.stderr)


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

    path = _form(provision.locate(model), settings)
    return LocalEngine(path, n_ctx=settings.context_tokens, threads=settings.threads, settings=settings)
