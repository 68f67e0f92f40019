"""Ready-made configuration of editors: files beside this one, and how to use each."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).resolve().parent

_NVIM = """\
-- Neovim 0.11 or later; goes into init.lua
vim.opt.runtimepath:append({folder})
require("steerway").setup({{}})
"""

_VSCODE = """\
# VS Code has no door for servers but an extension; this one is two files. Build and install it once:
cp -r {folder} steerway-vscode && cd steerway-vscode
npm install --no-audit --no-fund
npx --yes @vscode/vsce package --allow-missing-repository --skip-license
code --install-extension steerway-0.1.0.vsix
"""


def instructions(editor: str) -> str:
    """What to put where, for `nvim`, `vscode`, `helix` or `emacs`."""
    if editor == "nvim":
        return _NVIM.format(folder=_quoted(FOLDER / "nvim"))
    if editor == "vscode":
        return _VSCODE.format(folder=_quoted(FOLDER / "vscode"))
    file = {"helix": "languages.toml", "emacs": "steerway.el"}[editor]
    return (FOLDER / editor / file).read_text(encoding="utf-8")


def _quoted(path: Path) -> str:
    text = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'
