"""What must not be in the repository: models, lock files, addresses of registries, paths of one machine."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    return [ROOT / name for name in listed.decode().split("\0") if name and (ROOT / name).is_file()]


def test_no_models_binaries_or_lock_files() -> None:
    unwanted = re.compile(r"(uv\.lock|package-lock\.json|\.gguf|\.so|\.whl|\.dylib)$")
    assert not [p for p in tracked() if unwanted.search(p.name)]


def test_nothing_over_a_megabyte() -> None:
    assert not [p for p in tracked() if p.stat().st_size > 1_000_000]


def test_no_registry_addresses() -> None:
    address = re.compile(rb"https?://[\w.-]*(?:pypi|npmjs|debian)[\w.-]*")
    assert not [p for p in tracked() if address.search(p.read_bytes())]


def test_no_paths_of_one_machine() -> None:
    home = re.compile(
        rb"/(?:root|home/\w+|Users/\w+)/\.\w"
    )  # a person's hidden folders: caches, states, environments
    assert not [p for p in tracked() if home.search(p.read_bytes())]
    results = [p for p in tracked() if p.is_relative_to(ROOT / "docs" / "results")]
    absolute = re.compile(rb'"/\w[^"\s]*/')
    assert results
    assert not [p for p in results if p.suffix == ".json" and absolute.search(p.read_bytes())]


def test_the_journals_of_the_examples_are_read_without_problems() -> None:
    from journal import files

    for path in (ROOT / "examples").rglob("*.journal.md"):
        journal, _ = files.read(path)
        assert journal.problems == ()
        assert len(journal.steps) >= 2
