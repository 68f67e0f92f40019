"""Our CPU kernels through the engine's seam: close to llama.cpp's, and the same with any threads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.errors import EngineUnavailable
from engine.runtime import build, extension, kernels
from engine.runtime.context import Context
from engine.runtime.llama import Model
from engine.runtime.local import LocalEngine
from engine.settings import Settings

pytestmark = pytest.mark.model

TOKENS = [1000 + i * 7919 % 9000 for i in range(300)]


def logits(model: Model, *, threads: int = 2, last: int = 40) -> np.ndarray:
    """Those of the last `last` tokens, decoded together behind the others."""
    with_outputs = Context(model, context_tokens=512, batch_tokens=300, threads=threads, outputs=last)
    try:
        with_outputs.decode(TOKENS[:-last], 0, outputs="none")
        with_outputs.decode(TOKENS[-last:], len(TOKENS) - last, outputs="all")
        return np.array(with_outputs.logits_rows())
    finally:
        with_outputs.close()


def divergence(p: np.ndarray, q: np.ndarray) -> float:
    """Mean KL of rows of logits, nats."""
    p, q = (x - np.logaddexp.reduce(x, axis=1, keepdims=True) for x in (np.float64(p), np.float64(q)))
    return float((np.exp(p) * (p - q)).sum(axis=1).mean())


def test_they_are_as_close_to_stock_as_stock_is_to_itself(small_model: Path) -> None:
    """Stock's rows depend on how many are computed together; random tokens, so many choices are close."""
    if not extension.kernels():
        pytest.skip("no kernels for this processor")
    model = Model(small_model)
    kernels.choose("stock")
    stock = logits(model)
    noise = divergence(stock, logits(model, last=60)[-40:])
    assert kernels.choose() == extension.kernels()
    ours = logits(model)
    assert 0 < divergence(stock, ours) < 2 * noise
    model.close()


def test_a_token_does_not_depend_on_threads(small_model: Path) -> None:
    kernels.choose()
    model = Model(small_model)
    assert logits(model, threads=1).tobytes() == logits(model, threads=2).tobytes()
    model.close()


def test_the_setting_decides_and_the_build_is_another(small_model: Path) -> None:
    engine = LocalEngine(small_model, n_ctx=256, settings=Settings(kernels="stock", reuse="prefix"))
    engine.warm()
    assert engine.status()["kernels"] == extension.kernels_on() == ()
    stock = build.identity()
    engine.close()
    engine = LocalEngine(small_model, n_ctx=256)
    engine.warm()
    assert engine.status()["kernels"] == extension.kernels_on() == extension.kernels()
    assert (build.identity() == stock) == (extension.kernels() == ())
    engine.close()


def test_this_processor_has_them_all() -> None:
    """Else the C++ tests of the kernels would pass without testing anything."""
    flags = Path("/proc/cpuinfo").read_text().split() if Path("/proc/cpuinfo").is_file() else []
    wanted = (extension.ATTENTION, extension.MATMUL) if {"avx2", "fma", "f16c"} <= {*flags} else ()
    assert extension.kernels() == wanted


def test_an_unknown_kernel_is_named() -> None:
    with pytest.raises(EngineUnavailable, match="no kernel 'faster'"):
        extension.set_kernels("faster")
