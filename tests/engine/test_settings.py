"""Settings: one file, one table of keys, an environment variable for each."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from engine.errors import SettingsError
from engine.settings import ENVIRONMENT, Settings, folders, load, table

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs" / "settings.md"


def write(text: str) -> Path:
    file = folders().settings_file
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def test_file_then_environment(isolated_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write('model = "smollm2-135m"\nthreads = 2\n')
    monkeypatch.setenv("STEERWAY_THREADS", "4")

    settings = load()

    assert settings.model == "smollm2-135m"  # the file's
    assert settings.threads == 4  # the environment's, over the file's
    assert settings.max_tokens == 64  # nobody's: the default


def test_no_file_is_the_defaults(isolated_home: Path) -> None:
    assert load(environ={}) == Settings()
    assert not folders().config.exists()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("threads = -1", "threads is -1: it must be a whole number from 0 to 1024"),
        ('threads = "2"', "threads is '2': it must be a whole number from 0 to 1024"),
        ("temperature = nan", "temperature is nan: it must be a number from 0.0 to 2.0"),
        ('stop_at = "word"', "stop_at is 'word': it must be one of block, line, statement"),
        ('model = ""', "model is '': it must be text, not empty"),
        ("max_token = 3", "no setting is called 'max_token': did you mean max_tokens?"),
        ("xyzzy = 3", "no setting is called 'xyzzy': known settings: model,"),
        ("threads = ", "is not valid TOML: "),
        ("[threads]\nx = 1", "threads is {'x': 1}: it must be"),
    ],
)
def test_a_wrong_file_is_one_line_naming_file_key_and_what_is_allowed(
    isolated_home: Path, text: str, says: str
) -> None:
    file = write(text)
    with pytest.raises(SettingsError) as caught:
        load(environ={})
    assert str(caught.value).startswith(str(file))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_bytes_that_are_not_text(isolated_home: Path) -> None:
    write("").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match="is not valid TOML"):
        load(environ={})


def test_a_folder_where_the_file_should_be(isolated_home: Path) -> None:
    folders().settings_file.mkdir(parents=True)
    with pytest.raises(SettingsError, match=r"cannot be read: Is a directory"):
        load(environ={})


def test_a_byte_order_mark_is_no_error(isolated_home: Path) -> None:
    write("").write_bytes(b"\xef\xbb\xbfthreads = 3\n")
    assert load(environ={}).threads == 3


@pytest.mark.parametrize(
    ("variable", "text", "says"),
    [
        ("STEERWAY_THREADS", "many", "STEERWAY_THREADS is 'many': it must be a whole number from 0 to 1024"),
        ("STEERWAY_STOP_AT", "word", "STEERWAY_STOP_AT is 'word': it must be one of block, line, statement"),
        ("STEERWAY_TEMPERATURE", "hot", "STEERWAY_TEMPERATURE is 'hot': it must be a number"),
        ("STEERWAY_TEMPERATURE", "nan", "STEERWAY_TEMPERATURE is 'nan': it must be a number"),
    ],
)
def test_a_wrong_variable_is_named(isolated_home: Path, variable: str, text: str, says: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(environ={variable: text})
    assert says in str(caught.value)


def test_an_empty_variable_is_unset(isolated_home: Path) -> None:
    assert load(environ={"STEERWAY_THREADS": ""}) == Settings()


@pytest.mark.parametrize("row", table(), ids=lambda row: row.name)
def test_every_setting_has_a_variable_a_description_and_a_working_default(row) -> None:
    assert row.description.endswith(".")
    assert load(Path(os.devnull), environ={row.variable: str(row.default) or "x"}) is not None


@pytest.mark.usefixtures("isolated_home")
@pytest.mark.parametrize("name", ["config.toml", "steerway.toml", ".steerway.toml", ".steerway/config.toml"])
def test_a_workspace_does_not_decide_for_the_person(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text('model = "evil.gguf"\nmax_tokens = 8\n')
    monkeypatch.chdir(tmp_path)
    assert load(environ={}) == Settings()


def test_one_variable_moves_every_folder(isolated_home: Path) -> None:
    places = folders()
    assert {places.cache.parent, places.config.parent, places.state.parent} == {isolated_home}
    assert places.models == isolated_home / "cache" / "models"


def test_without_it_the_platform_decides(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("STEERWAY_HOME", raising=False)
    for variable in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(variable, str(tmp_path / variable))
    places = folders()
    assert len({places.cache, places.config, places.state}) == 3
    assert places.cache.name == places.config.name == places.state.name == "steerway"


@pytest.mark.parametrize("row", table(), ids=lambda row: row.name)
def test_the_docs_show_every_setting(row) -> None:
    default = row.default if row.default != "" else "(empty)"
    allowed = f"{row.allowed}, {row.unit}" if row.unit else row.allowed
    line = f"| `{row.name}` | `{row.variable}` | `{default}` | {row.description} | {allowed} |"
    assert line in DOCS.read_text().splitlines()


def test_every_variable_the_code_names_is_known() -> None:
    known = {row.variable for row in table()} | ENVIRONMENT.keys()
    named: set[str] = set()
    for folder in ("engine", "journal", "lsp", "native/backend"):
        for source in (ROOT / folder).rglob("*.py"):
            named |= set(re.findall(r"""["'](STEERWAY_[A-Z_]*[A-Z])["']""", source.read_text()))
    assert named - known == set()


@pytest.mark.parametrize("variable", ENVIRONMENT)
def test_the_docs_show_every_other_variable(variable: str) -> None:
    assert f"| `{variable}` | {ENVIRONMENT[variable]} |" in DOCS.read_text().splitlines()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("attention_bias = 9", "attention_bias is 9: it must be auto or a number from -8.0 to 8.0"),
        ('near_tokens = "few"', "near_tokens is 'few': it must be auto or a whole number from 8 to 512"),
        ('reuse = "shift"', "reuse is 'shift': remove it: the default, documents, keeps the text after"),
    ],
)
def test_settings_that_are_auto_or_a_number_and_values_that_went_away(
    isolated_home: Path, text: str, says: str
) -> None:
    write(text)
    with pytest.raises(SettingsError) as caught:
        load(environ={})
    assert says in str(caught.value)


def test_auto_and_numbers_come_from_variables_too() -> None:
    environ = {
        "STEERWAY_ATTENTION_BIAS": "-0.5",
        "STEERWAY_NEAR_TOKENS": "auto",
        "STEERWAY_BLEND_PERCENT": "15",
    }
    settings = load(Path(os.devnull), environ=environ)
    assert (settings.attention_bias, settings.near_tokens, settings.blend_percent) == (-0.5, "auto", 15)
