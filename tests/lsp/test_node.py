"""An independent client: Microsoft's own protocol library under Node receives, applies and cancels."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import platformdirs
import pytest

HERE = Path(__file__).parent / "node"
URI = "file:///project/sums.py"
CODE = 'def one(values):\n    "🎉é"; return sum(values)\n\n\ndef two(values):\n    "🎉é"; return '
SLOW = "def f(a):\n    return [a, b, c, d, e, f, g, h, i, j, k, l]\n\ndef g(a):\n    return "
REQUEST_CANCELLED = -32800


@pytest.fixture(scope="session")
def node_client() -> Path:
    """`client.cjs` beside its installed packages, in the user's cache (once per version of package.json)."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("Node and npm are not installed: the independent LSP client needs them")
    package = HERE / "package.json"
    key = hashlib.blake2b(package.read_bytes(), digest_size=8).hexdigest()
    folder = Path(platformdirs.user_cache_dir("steerway")) / "test-node-client" / key
    done = folder / "installed"
    if not done.exists():
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(package, folder)
        command = ["npm", "install", "--no-package-lock", "--no-audit", "--no-fund"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=240)
        done.touch()
    return Path(shutil.copy(HERE / "client.cjs", folder))


def run(client: Path, **options: Any) -> Any:
    environment = {**os.environ, "PYTHONUTF8": "1"}
    done = subprocess.run(
        ["node", str(client)],
        input=json.dumps(options),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_node_receives_applies_accepts_and_cancels(
    node_client: Path, isolated_home: Path, lsp_command: Any
) -> None:
    result = run(
        node_client,
        command=lsp_command("--model", "fake:20"),
        uri=URI,
        text=CODE + "\nend = 1\n",
        position={"line": 5, "character": 18},
        slow={"text": SLOW, "position": {"line": 4, "character": 11}},
        inline=True,
    )

    assert result["capabilities"]["positionEncoding"] == "utf-16"
    assert result["applied"] == CODE + "sum(values)\nend = 1\n"
    assert result["cancelled"] == REQUEST_CANCELLED
    assert result["status"]["counts"] == {"shown": 1, "accepted": 1, "cancelled": 1}
    assert result["exit"] == 0


def test_node_without_inline_completion_applies_the_menu_item(
    node_client: Path, isolated_home: Path, lsp_command: Any
) -> None:
    result = run(
        node_client,
        command=lsp_command("--model", "fake"),
        uri=URI,
        text=CODE + "su\nend = 1\n",
        position={"line": 5, "character": 20},
        inline=False,
    )

    assert "inlineCompletionProvider" not in result["capabilities"]
    assert result["edit"]["label"] == "sum(values)"
    assert result["applied"] == CODE + "sum(values)\nend = 1\n"
    assert result["status"]["counts"] == {"shown": 1, "accepted": 1}
