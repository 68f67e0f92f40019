"""What every test may ask for: the provisioned models, and a home of its own."""

from __future__ import annotations

from pathlib import Path

import pytest


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
