"""A model file on Hugging Face, fetched by `huggingface_hub` in a child process so that it can be ended.

`hf_hub_download` deletes a partial file since 2.0 (huggingface_hub pull request 4228) and took 23 s to say
that there is no network. Its `http_get`, the layer below, goes on at an offset.

Run as a module, this file is that child: `python -m engine.models.hub REPOSITORY FILE REVISION PATH BYTES`.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

from engine.models.catalogue import HubSource, Model
from engine.models.fetch import watch
from engine.models.progress import Progress, megabytes

ANSWER_SECONDS = 4
READ_SECONDS = 20


def fetch(model: Model, source: HubSource, *, work: Path, progress: Progress) -> Path:
    """The model's file below `work`. A partial file is kept and continued. Raises SourceFailed.

    An unreachable hub costs at most about `ANSWER_SECONDS`: the library's own retries take 23 s.
    """
    folder = work / "hub"
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f"{model.file}.incomplete"
    if partial.exists():
        progress.note(f"  going on after {megabytes(partial.stat().st_size)}")
    child = [sys.executable, "-P", "-m", "engine.models.hub", source.repository, source.file]
    watch(
        [*child, source.revision, str(partial), str(model.bytes)],
        folder=folder,
        on_bytes=lambda count: progress.advance(min(count, model.bytes), model.bytes),
        environ={
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DOWNLOAD_TIMEOUT": str(READ_SECONDS),
        },
    )
    return partial


def _download(repository: str, file: str, revision: str, partial: Path, size: int) -> str | None:
    """What went wrong, or None when `partial` has all `size` bytes."""
    from huggingface_hub import hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers

    url = hf_hub_url(repository, file, revision=revision)
    problem = _probe(url, size)
    if problem:
        return problem
    try:
        with partial.open("ab") as out:
            http_get(url, out, resume_size=out.tell(), headers=build_hf_headers(), expected_size=size)
    except Exception as error:  # whatever the library raises is a reason to try the next source
        return _words(error)
    return None


def _probe(url: str, size: int) -> str | None:
    """What speaks against downloading: nobody answers, or the file there has another size.

    On a thread of its own because name resolution obeys no timeout.
    """
    answer: list[str | None] = []
    thread = threading.Thread(target=lambda: answer.append(_ask(url, size)), daemon=True)
    thread.start()
    thread.join(ANSWER_SECONDS)
    return answer[0] if answer else f"no answer within {ANSWER_SECONDS} s"


def _ask(url: str, size: int) -> str | None:
    from huggingface_hub import get_hf_file_metadata

    try:
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
    repository, file, revision, partial, size = arguments
    problem = _download(repository, file, revision, Path(partial), int(size))
    if problem:
        print(f"ERROR: {problem}", flush=True)
    sys.stdout.flush()
    os._exit(1 if problem else 0)  # a resolver that hangs must not keep the process


if __name__ == "__main__":
    _main(sys.argv[1:])
