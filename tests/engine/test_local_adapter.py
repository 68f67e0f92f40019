"""The engine with a LoRA adapter beside its model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("gguf")

from engine.compress import adapter  # noqa: E402
from engine.compress.adapter import Pair  # noqa: E402
from engine.errors import ModelFileMissing, ModelUnsupported  # noqa: E402
from engine.models import digest  # noqa: E402
from engine.request import Request  # noqa: E402
from engine.runtime.local import LocalEngine  # noqa: E402
from engine.settings import Settings  # noqa: E402

pytestmark = pytest.mark.model

HOLE = Request("def area(width, height):\n    return width ", "\n", max_tokens=8)
WIDTH = 576  # of the small model


@pytest.fixture
def make(tmp_path: Path):
    """An adapter for the small model that adds `size` times noise to some products."""

    def made(size: float) -> Path:
        random = torch.Generator().manual_seed(3)
        pair = Pair(
            torch.randn(4, WIDTH, generator=random).half(),
            (torch.randn(WIDTH, 4, generator=random) * size).half(),
        )
        path = adapter.path_beside(tmp_path / f"noise-{size}.gguf")
        adapter.write(path, "llama", {f"blk.{i}.attn_output.weight": pair for i in range(0, 30, 3)}, {})
        return path

    return made


def suggested(model: Path, settings: Settings) -> tuple[str, LocalEngine]:
    engine = LocalEngine(model, n_ctx=1024, settings=settings)
    try:
        return engine.suggest(replace(HOLE)).text, engine
    finally:
        engine.close()


def test_an_adapter_that_adds_nothing_changes_nothing(small_model: Path, make) -> None:
    plain, _ = suggested(small_model, Settings(reuse="prefix"))
    same, engine = suggested(small_model, Settings(reuse="prefix", adapter=str(make(0.0))))
    other, _ = suggested(small_model, Settings(reuse="prefix", adapter=str(make(3.0))))
    assert (same, engine._model.adapter is not None) == (plain, True)
    assert other != plain


def test_kept_keys_and_values_are_of_the_model_with_its_adapter(small_model: Path, make) -> None:
    path = make(0.0)
    engine = LocalEngine(small_model, n_ctx=1024, settings=Settings(adapter=str(path)))
    assert engine._builder._model_key == f"{digest.of(small_model)}+{digest.of(path)}"
    assert engine.status()["adapter"] == path.name
    engine.close()


def test_what_is_no_adapter_of_the_model_is_refused(small_model: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelFileMissing, match="no adapter file"):
        LocalEngine(small_model, settings=Settings(adapter=str(tmp_path / "none.gguf")))
    with pytest.raises(ModelUnsupported, match="is no LoRA adapter"):
        LocalEngine(small_model, settings=Settings(adapter=str(small_model)))
    other = adapter.path_beside(tmp_path / "other.gguf")
    adapter.write(
        other,
        "qwen2",
        {"blk.0.attn_q.weight": Pair(torch.zeros(4, 896).half(), torch.zeros(896, 4).half())},
        {},
    )
    with pytest.raises(ModelUnsupported, match="is for a qwen2 model"):
        LocalEngine(small_model, settings=Settings(adapter=str(other)))
