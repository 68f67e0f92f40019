"""What every test may ask for: the provisioned models, and a home of its own."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# Tests about something else load their models where they run: no process outlives one by accident.
os.environ["STEERWAY_ENGINE"] = "inline"


@pytest.fixture(scope="session")
def small_model() -> Path:
    """SmolLM2-135M, pulled once per user and checked by hash."""
    from engine.models import provision

    return provision.pull("smollm2-135m")


@pytest.fixture(scope="session")
def default_model() -> Path:
    """Qwen2.5-Coder-0.5B, the default model."""
    from engine.models import provision

    return provision.pull("qwen2.5-coder-0.5b")


@pytest.fixture
def isolated_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Cache, configuration and state folders of this test alone."""
    home = tmp_path / "steerway-home"
    home.mkdir()
    monkeypatch.setenv("STEERWAY_HOME", str(home))
    return home


@pytest.fixture
def obedient() -> Iterator[None]:
    """Permissions bind this test as they bind a user: root's capabilities to pass over them are laid down.

    For this thread and this test only (capset(2), version 3; CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH).
    """
    if os.geteuid() != 0 or sys.platform != "linux":
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    before, lowered = (ctypes.c_uint32 * 6)(), (ctypes.c_uint32 * 6)()
    assert libc.capget(header, before) == 0
    lowered[:] = before[:]
    lowered[0] &= ~0b110
    assert libc.capset(header, lowered) == 0
    yield
    assert libc.capset(header, before) == 0
