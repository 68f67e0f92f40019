"""What an editor may set, and what it may not."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lsp.settings import EditorSettings, settings_from

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
names = st.sampled_from(["enable", "languages", "maxTokens", "debounceMs", "journal", "step", "model", "x"])


def test_later_layers_win_and_every_way_of_writing_them_is_read() -> None:
    read = settings_from(
        {"maxTokens": 8, "debounceMs": 5}, {"steerway": {"debounceMs": 9}}, {"steerway.step": "2"}, None
    )
    assert read.settings == EditorSettings(max_tokens=8, debounce_ms=9, step="2")
    assert read.problems == ()


def test_a_model_a_program_or_an_address_cannot_be_set() -> None:
    read = settings_from({"model": "/tmp/evil.gguf", "command": ["sh"], "remoteUrl": "http://evil"})
    assert read.settings == EditorSettings()
    assert len(read.problems) == 3
    assert all("cannot be set by an editor" in problem for problem in read.problems)


def test_what_is_wrong_is_left_out_and_named() -> None:
    read = settings_from({"enable": "yes", "maxTokens": 0, "colour": 1, "languages": {"markdown": False}})
    assert read.settings.enable is True
    assert read.settings.max_tokens is None
    assert not read.settings.speaks("markdown")
    assert [problem.split(" ")[0] for problem in read.problems] == [
        "steerway.enable",
        "steerway.maxTokens",
        "no",
    ]


def test_languages_can_be_off_but_for_some() -> None:
    settings = settings_from({"languages": {"*": False, "python": True}}).settings
    assert settings.speaks("python")
    assert not settings.speaks("rust")


@given(st.dictionaries(names, json_values, max_size=5) | json_values)
def test_nothing_an_editor_sends_is_an_error(layer: object) -> None:
    assert isinstance(settings_from(layer, {"steerway": layer}).settings, EditorSettings)
