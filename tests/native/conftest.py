"""The back end of native/ and the low-level context, importable by the tests of this folder."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
NATIVE = HERE.parents[1] / "native"
sys.path[:0] = [str(HERE), str(NATIVE), str(NATIVE / "backend")]
