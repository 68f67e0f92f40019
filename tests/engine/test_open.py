"""One door to every back end."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from engine.errors import ModelFileMissing, ModelUnknown, ModelUnsupported
from engine.open import open_engine, wanted
from engine.request import Request
from engine.runtime.local import LocalEngine
from engine.settings import Settings
from tests.native import tiny_models


def test_the_settings_choose_the_engine(isolated_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEERWAY_MODEL", "fake")
    assert open_engine().info.backend == "fake"
    assert open_engine(settings=Settings(model="fake:2")).info.backend == "fake"


def test_an_explicit_model_wins_over_the_settings() -> None:
    assert open_engine("fake:1", settings=Settings(model="nowhere.gguf")).info.backend == "fake"


@pytest.mark.parametrize(
    ("model", "error"),
    [
        ("remote:localhost", ModelUnknown),
        ("remote:", ModelUnknown),
        ("fake:soon", ModelUnknown),
        ("no-such-model", ModelUnknown),
        ("./no-such.gguf", ModelFileMissing),
        ("qwen2.5-coder-0.5b", ModelFileMissing),
    ],
)
def test_what_cannot_be_opened_is_one_line_that_says_what_to_do(
    isolated_home: Path, monkeypatch: pytest.MonkeyPatch, model: str, error: type[Exception]
) -> None:
    monkeypatch.delenv("STEERWAY_MODELS", raising=False)
    with pytest.raises(error) as caught:
        open_engine(model)
    assert "\n" not in str(caught.value)
    assert ": " in str(caught.value)


def test_an_adapter_is_found_from_the_service_s_folder_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shared engine runs in another folder than who asks."""
    monkeypatch.chdir(tmp_path)
    model = str(tiny_models.rotating(tmp_path / "model.gguf", "llama"))
    spec = wanted(model, Settings(adapter="beside.lora.gguf"))
    assert spec.settings.adapter == str(tmp_path / "beside.lora.gguf")
    assert wanted(model, Settings()).settings == Settings()


def test_a_model_without_a_vocabulary_is_refused_in_one_line(tmp_path: Path) -> None:
    """llama.cpp itself ends the process."""
    model = tiny_models.rotating(tmp_path / "numbers.gguf", "llama")
    with closing(LocalEngine(model)) as engine, pytest.raises(ModelUnsupported) as caught:
        engine.suggest(Request("def f(a):\n    return ", ""))
    assert "numbers.gguf has no vocabulary" in str(caught.value)
