"""`steerway doctor`: what is here, what is off, and what to do about it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from engine import diagnosis
from engine.diagnosis import Check
from engine.runtime.probe import Library
from journal.commands import doctor as command
from journal.commands.root import run

WORKS = Library(version="1", features=("ranged-shift",), system="AVX2 = 1 | FMA = 1 | F16C = 1", gpu=False)


@pytest.fixture
def report(isolated_home: Path, capsys, monkeypatch):
    """Runs `steerway doctor --json` with the fake model; returns the exit code and checks by name."""
    monkeypatch.setenv("STEERWAY_MODEL", "fake")

    def ask() -> tuple[int, dict[str, dict[str, str]]]:
        code = run(["doctor", "--json"])
        checks = json.loads(capsys.readouterr().out)["checks"]
        return code, {check["name"]: check for check in checks}

    return ask


def test_a_working_installation(report) -> None:
    code, checks = report()

    assert code == 0
    assert set(checks) >= {"python", "steerway", "settings", "cache folder", "config folder", "state folder"}
    assert set(checks) >= {
        "disk",
        "llama-cpp-python",
        "patches",
        "cpu",
        "gpu",
        "threads",
        "model",
        "reuse",
        "grammars",
    }
    assert set(checks) >= {"kernels", "shell", "git", "editors"}
    assert all(check["status"] in ("ok", "warn") for check in checks.values())
    assert all(check["advice"] for check in checks.values() if check["status"] != "ok")
    assert checks["python"]["found"].startswith(f"{sys.version_info.major}.{sys.version_info.minor}.")
    assert "python3" in checks["kernels"]["found"]


def test_nothing_is_created_or_downloaded(report, isolated_home: Path) -> None:
    report()
    assert list(isolated_home.iterdir()) == []


def test_for_people_each_check_is_a_line_and_each_problem_says_what_to_do(
    isolated_home: Path, capsys
) -> None:
    assert run(["doctor"]) == 1  # the default model is not in this home
    lines = capsys.readouterr().out.splitlines()
    at = next(n for n, line in enumerate(lines) if line.startswith("fail  model"))
    assert "is not on this machine" in lines[at]
    assert lines[at + 1].strip().startswith("-> run `steerway model pull qwen2.5-coder-0.5b`")
    assert lines[-1].endswith("1 broken")


def test_a_broken_settings_file_fails_and_stops_no_other_check(report, isolated_home: Path) -> None:
    file = isolated_home / "config" / "config.toml"
    file.parent.mkdir()
    file.write_text("threads = 'many'")
    code, checks = report()
    assert code == 1
    assert checks["settings"]["status"] == "fail"
    assert "threads is 'many'" in checks["settings"]["found"]
    assert checks["threads"]["status"] == "ok"


def test_a_misspelt_variable_is_noticed(report, monkeypatch) -> None:
    monkeypatch.setenv("STEERWAY_MODLE", "x")
    assert report()[1]["settings"]["found"] == "unknown: STEERWAY_MODLE"


@pytest.mark.parametrize(
    "module",
    ["rich", "engine.grammars", "engine.runtime.probe", "jupyter_client.kernelspec", "engine.models"],
)
def test_a_module_that_does_not_import_is_one_warning(report, monkeypatch, module: str) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    code, checks = report()
    assert code in (0, 1)
    assert "python" in checks
    assert "git" in checks


def test_a_probe_that_breaks_is_not_the_end() -> None:
    def broken() -> Check:
        raise RuntimeError("first line\nsecond line")

    found = list(diagnosis.run({"odd": broken, "python": diagnosis.python}))
    assert found[0] == Check("odd", "warn", "could not be checked: first line")
    assert found[1].name == "python"


def test_a_library_that_crashes_while_loading() -> None:
    check = diagnosis.native_library(Library(problem="it was ended by signal 4 while loading"))
    assert check.status == "fail"
    assert "signal 4" in check.found
    assert "pip install" in check.advice


def test_the_real_library_is_asked_in_a_process_of_its_own() -> None:
    from engine.runtime import probe

    found = probe.probe()
    assert found.problem == ""
    assert found.version


def test_a_probe_that_dies_is_reported(monkeypatch, tmp_path: Path) -> None:
    from engine.runtime import probe

    for body, says in (
        ("#!/bin/sh\nkill -ILL $$\n", "it was ended by signal 4 while loading"),
        ("#!/bin/sh\necho ImportError: no such library >&2\nexit 1\n", "ImportError: no such library"),
        ("#!/bin/sh\nexit 3\n", "it ended with code 3"),
    ):
        fake = tmp_path / "python"
        fake.write_text(body)
        fake.chmod(0o755)
        monkeypatch.setattr(probe.sys, "executable", str(fake))
        assert probe.probe().problem == says


def test_the_stock_library_works_with_a_warning() -> None:
    assert diagnosis.patches(WORKS).status == "ok"
    stock = diagnosis.patches(Library(version="1"))
    assert (stock.status, stock.found) == ("warn", "none, this is the stock library")
    assert stock.advice


@pytest.mark.parametrize(
    ("offered", "status", "found"),
    [
        ({"avx2", "fma", "f16c"}, "ok", "AVX2, FMA, F16C"),
        ({"avx2", "fma", "f16c", "avx512f"}, "warn", "the library does not use AVX512"),
        ({"sse4_1"}, "warn", "no AVX2"),
    ],
)
def test_cpu_flags_the_library_leaves_unused(monkeypatch, offered, status: str, found: str) -> None:
    monkeypatch.setattr(diagnosis.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(diagnosis, "_cpu_flags", lambda: offered)
    check = diagnosis.cpu(WORKS)
    assert check.status == status
    assert found in check.found


def test_a_gpu_the_library_cannot_use(monkeypatch, tmp_path: Path) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'NVIDIA Something, 8192 MiB'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    check = diagnosis.gpu(WORKS)
    if sys.platform == "linux":
        assert check.found == "NVIDIA Something, 8192 MiB, not used by this library"
        assert "STEERWAY_CUDA=1" in check.advice


def test_a_folder_that_cannot_be_made(report, isolated_home: Path) -> None:
    (isolated_home / "cache").write_text("a file in the way")
    code, checks = report()
    assert code == 1
    assert checks["cache folder"]["status"] == "fail"
    assert "STEERWAY_HOME" in checks["cache folder"]["advice"]


def test_no_kernel_no_git_no_shell(monkeypatch, tmp_path: Path) -> None:
    from jupyter_client.kernelspec import KernelSpecManager

    monkeypatch.setattr(KernelSpecManager, "get_all_specs", lambda self: {})
    monkeypatch.setenv("PATH", str(tmp_path))
    assert [check.status for check in command.kernels()] == ["fail"]
    assert command.git().status == "warn"
    assert command.shell().status == "fail"
    assert command.editors().status == "ok"


def test_a_kernel_whose_program_is_gone(monkeypatch) -> None:
    from jupyter_client.kernelspec import KernelSpecManager

    specs = {
        "python3": {"spec": {"language": "python", "argv": ["python"], "display_name": "Python 3"}},
        "old": {"spec": {"language": "julia", "argv": ["/gone/julia"], "display_name": "Julia"}},
    }
    monkeypatch.setattr(KernelSpecManager, "get_all_specs", lambda self: specs)
    fine, lost = command.kernels()
    assert fine.found == "python3 (Python 3), old (Julia)"
    assert (lost.status, lost.found) == ("warn", "their program is gone: old")
    assert "jupyter kernelspec remove" in lost.advice
