"""The ready-made editor configurations, and the documentation that lists what they may set."""

from __future__ import annotations

import json
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from lsp.cli import EDITORS, lsp
from lsp.editors import FOLDER, instructions
from lsp.handlers import accepted, set_step, status
from lsp.settings import EditorSettings

DOCS = Path(__file__).parents[2] / "docs"
SETTINGS = {each.encode_name for each in msgspec.structs.fields(EditorSettings)}

STUBS = """
const Module = require("node:module");
const load = Module._load;
const made = [];
const values = { command: ["steerway", "lsp"], enable: false, maxTokens: 9 };
const vscode = {
  workspace: {
    getConfiguration: () => ({ get: (name) => values[name] }),
    onDidChangeConfiguration: () => ({ dispose() {} }),
  },
  commands: { registerCommand: (name) => (made.push(name), { dispose() {} }) },
  window: {},
};
class LanguageClient {
  constructor(id, name, server, client) { Object.assign(this, { server, client }); made.push(this); }
  async start() {}
}
const stubs = { vscode, "vscode-languageclient/node": { LanguageClient } };
Module._load = (name, ...rest) => stubs[name] ?? load(name, ...rest);
require(process.argv[2]).activate({ subscriptions: [] }).then(() => {
  const [client, ...commands] = made;
  const asked = client.client.middleware.workspace.configuration({ items: [{ section: "steerway" }] });
  console.log(JSON.stringify({ server: client.server, asked, commands }));
});
"""


@pytest.mark.parametrize("editor", EDITORS)
def test_every_editor_has_instructions_that_name_the_server(editor: str) -> None:
    result = CliRunner().invoke(lsp, ["--print-config", editor])
    assert result.exit_code == 0
    assert result.output == instructions(editor)
    assert "steerway" in result.output


def test_the_neovim_plugin_is_where_the_instructions_say() -> None:
    folder = json.loads(instructions("nvim").split("append(")[1].split(")")[0])
    assert (Path(folder) / "lua" / "steerway.lua").is_file()


def test_the_helix_configuration_is_toml() -> None:
    config = tomllib.loads(instructions("helix"))
    server = config["language-server"]["steerway"]
    assert [server["command"], *server["args"]] == ["steerway", "lsp"]
    assert all("steerway" in json.dumps(language["language-servers"]) for language in config["language"])


def test_the_vscode_extension_offers_every_setting_and_keeps_the_command_from_workspaces() -> None:
    package = json.loads((FOLDER / "vscode" / "package.json").read_text())
    properties = package["contributes"]["configuration"]["properties"]
    assert {name.removeprefix("steerway.") for name in properties} == SETTINGS | {"command"}
    assert properties["steerway.command"]["scope"] == "machine"
    assert properties["steerway.debounceMs"]["default"] == EditorSettings().debounce_ms


def test_the_vscode_extension_starts_the_server_and_tells_it_its_settings_only(tmp_path: Path) -> None:
    if shutil.which("node") is None:
        pytest.skip("Node is not installed: the extension runs in it")
    script = tmp_path / "stubs.cjs"
    script.write_text(STUBS)
    command = ["node", str(script), str(FOLDER / "vscode" / "extension.js")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    seen: dict[str, Any] = json.loads(done.stdout)
    assert seen["server"] == {"command": "steerway", "args": ["lsp"]}
    assert seen["asked"] == [{"enable": False, "maxTokens": 9}]
    assert seen["commands"] == ["steerway.why", "steerway.chooseStep"]


def test_the_emacs_configuration_loads() -> None:
    if (emacs := shutil.which("emacs")) is None:
        pytest.skip("Emacs is not installed")
    file = str(FOLDER / "emacs" / "steerway.el")
    subprocess.run([emacs, "-Q", "--batch", "-l", file], check=True, capture_output=True)


def test_the_documentation_names_every_setting_command_editor_and_option() -> None:
    page, editors = (DOCS / "lsp.md").read_text(), (DOCS / "editors.md").read_text()
    for name in SETTINGS:
        assert f"`steerway.{name}`" in page
    for module in (accepted, set_step, status):
        assert f"`{module.COMMAND}`" in page
    for option in (each for each in lsp.params if not getattr(each, "hidden", False)):
        assert option.opts[0] in page
    for editor in EDITORS:
        assert f"`{editor}`" in editors
