"""Our CPU kernels through the engine's seam: close to stock's, the same with any threads, packed or not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from engine.errors import EngineUnavailable
from engine.runtime import build, extension, kernels
from engine.runtime.context import Context
from engine.runtime.extension import ATTENTION, MATMUL, PACKED, Refused
from engine.runtime.llama import Model
from engine.runtime.local import LocalEngine
from engine.settings import Settings

pytestmark = [pytest.mark.model, pytest.mark.usefixtures("isolated_home")]

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
    has_them = {"avx2", "fma", "f16c"} <= {*flags}
    assert extension.kernels() == ((ATTENTION, MATMUL, PACKED) if has_them else ())
    assert extension.packable() == (tuple(extension.WEIGHT_TYPES) if has_them else ())


def test_an_unknown_kernel_is_named() -> None:
    with pytest.raises(EngineUnavailable, match="no kernel 'faster'"):
        extension.set_kernels("faster")


@pytest.fixture
def packing() -> Iterator[None]:
    """For tests of packed weights, which leave the types that are packed as they were."""
    if PACKED not in extension.kernels():
        pytest.skip("no packed weights on this processor")
    before = extension.packed_types()
    yield
    extension.set_packed_types(*before)


def loaded_logits(path: Path, *names: str, threads: int = 2, last: int = 40) -> bytes:
    """Bits of the last logits of a model that is loaded and computes with these kernels."""
    extension.set_kernels(*names)
    model = Model(path)
    try:
        return logits(model, threads=threads, last=last).tobytes()
    finally:
        model.close()


@pytest.mark.usefixtures("packing")
def test_packed_weights_give_the_same_bits(small_model: Path) -> None:
    """As plain ones in several columns, which our kernels compute whatever the type; and with one column."""
    plain = loaded_logits(small_model, ATTENTION, MATMUL)
    packed = loaded_logits(small_model, ATTENTION, MATMUL, PACKED)
    assert packed == plain
    row = len(packed) // 40
    assert loaded_logits(small_model, ATTENTION, PACKED, threads=1, last=1) == packed[-row:]


@pytest.mark.usefixtures("packing")
def test_a_packed_model_stays_so(small_model: Path) -> None:
    """The switch is for loading: off, products with what is packed are computed as before."""
    extension.set_kernels(ATTENTION, PACKED)
    model = Model(small_model)
    packed = logits(model)
    extension.set_kernels(ATTENTION)
    assert logits(model).tobytes() == packed.tobytes()
    model.close()


@pytest.mark.usefixtures("packing")
def test_the_types_that_are_packed_can_be_chosen(small_model: Path) -> None:
    assert extension.packed_types() == extension.packable()
    extension.set_packed_types("Q8_0")
    assert extension.packed_types() == ("Q8_0",)
    assert loaded_logits(small_model, ATTENTION, MATMUL, PACKED) == loaded_logits(
        small_model, ATTENTION, MATMUL
    )
    with pytest.raises(EngineUnavailable, match="'Q3_K' cannot be packed"):
        extension.set_packed_types("Q3_K")
    assert extension.packed_types() == ("Q8_0",)


@pytest.mark.usefixtures("packing")
def test_a_product_can_be_measured() -> None:
    extension.set_kernels(ATTENTION)
    for way in extension.WAYS:
        assert extension.measure_product("Q4_0", way, rows=64, width=256, threads=1) > 0
    assert extension.kernels_on() == (ATTENTION,)
    with pytest.raises(Refused, match="of Q4_0 weights, packed, cannot be measured"):
        extension.measure_product("Q4_0", "packed", rows=64, width=250, threads=1)
