"""A head profile of a model that has four layers of four heads, eight values wide."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from engine.injection import profile
from engine.injection.profile import Head, HeadProfile, Made
from engine.settings import folders

SHA256 = "5" * 64
HEADS = (
    Head(1, 0, "previous", "previous", 0.7, (0.1,) * 8),
    Head(2, 1, "definition", "name", 0.5, (0.2,) * 8, (0.3,) * 8),
    Head(2, 3, "definition", "after", 0.4, (0.4,) * 8, (0.5,) * 8),
    Head(3, 2, "dormant", "sink", 0.99),
)


def made(**changes: object) -> HeadProfile:
    fields = {
        "model": "tiny", "sha256": SHA256, "default": (), "why": "no kind is on", "boost": 1.5,
        "made": Made("steerway study heads tiny", ("a.py 0",), 100), "heads": HEADS,
    }  # fmt: skip
    return HeadProfile(**(fields | changes))


@pytest.fixture
def own(isolated_home: Path) -> Path:
    """Where the person's own profiles are; the tiny model has one."""
    folder = folders().state / "heads"
    profile.save(made(), folder / f"{SHA256}.json")
    return folder
