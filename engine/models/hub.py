"""A model file on Hugging Face, fetched by `huggingface_hub` in a child process so that it can be ended.

Run as a module, this file is that child: `python -m engine.models.hub REPOSITORY FILE REVISION FOLDER BYTES`.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

from engine.models.catalogue import HubSource, Model
from engine.models.fetch import bytes_below, watch
from engine.models.progress import Progress

ANSWER_SECONDS = 4
READ_SECONDS = 20


def fetch(model: Model, source: HubSource, *, work: Path, progress: Progress) -> Path:
    """The model's file below `work`. A partial file is kept and continued. Raises SourceFailed.

    An unreachable hub costs at most about `ANSWER_SECONDS`: the library's own retries take 23 s.
    """
    folder = work / "hub"
    folder.mkdir(parents=True, exist_ok=True)
    if kept := bytes_below(folder):
        progress.note(f"  going on after {kept} bytes")
    child = [sys.executable, "-P", "-m", "engine.models.hub", source.repository, source.file]
    watch(
        [*child, source.revision, str(folder), str(model.bytes)],
        folder=folder,
        on_bytes=lambda count: progress.advance(min(count, model.bytes), model.bytes),
        environ={
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DOWNLOAD_TIMEOUT": str(READ_SECONDS),
        },
    )
    return folder / source.file


def _download(repository: str, file: str, revision: str, folder: str, size: int) -> str | None:
    """What went wrong, or None when the file is in `folder`."""
    from huggingface_hub import hf_hub_download

    problem = _probe(repository, file, revision, size)
    if problem:
        return problem
    try:
        hf_hub_download(repository, file, revision=revision, local_dir=folder, etag_timeout=ANSWER_SECONDS)
    except Exception as error:  # whatever the library raises is a reason to try the next source
        return _words(error)
    return None


def _probe(repository: str, file: str, revision: str, size: int) -> str | None:
    """What speaks against asking this repository: it is silent, or holds a file of another size.

    On a thread of its own because name resolution obeys no timeout.
    """
    answer: list[str | None] = []
    thread = threading.Thread(
        target=lambda: answer.append(_ask(repository, file, revision, size)), daemon=True
    )
    thread.start()
    thread.join(ANSWER_SECONDS)
    return answer[0] if answer else f"no answer within {ANSWER_SECONDS} s"


def _ask(repository: str, file: str, revision: str, size: int) -> str | None:
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    try:
        url = hf_hub_url(repository, file, revision=revision)
        found = get_hf_file_metadata(url, timeout=ANSWER_SECONDS)
    except Exception as error:  # see _download
        return _words(error)
    if found.size not in (None, size):
        return f"the file there has {found.size} bytes instead of {size}"
    return None


def _words(error: Exception) -> str:
    first = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {first[:160]}" if first else type(error).__name__


def _main(arguments: list[str]) -> None:
    repository, file, revision, folder, size = arguments
    problem = _download(repository, file, revision, folder, int(size))
    if problem:
        print(f"ERROR: {problem}", flush=True)
    sys.stdout.flush()
    os._exit(1 if problem else 0)  # a resolver that hangs must not keep the process


if __name__ == "__main__":
    _main(sys.argv[1:])
