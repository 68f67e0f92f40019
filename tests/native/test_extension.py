"""The binding of Steerway's C API, on the patched library and on one without it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from steerway_native import pins

from engine.errors import EngineUnavailable
from engine.runtime import extension, library


@pytest.fixture
def stock(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A library that lacks our symbols, as a stock llama-cpp-python does."""

    class Plain:
        _lib = object()

    monkeypatch.setattr(library, "load", lambda: Plain)
    extension._library.cache_clear()
    yield
    monkeypatch.undo()
    extension._library.cache_clear()


def test_the_installed_library_is_ours() -> None:
    assert extension.version() == pins.read().full_version
    assert extension.features() == (
        extension.RANGED_SHIFT, extension.LOOSE_POSITIONS, extension.MASK_BIAS, extension.KV_ROWS,
        extension.HEADS,
    )  # fmt: skip


def test_a_stock_library_has_no_features(stock: None) -> None:
    assert (extension.version(), extension.features(), extension.enabled(0)) == ("", (), ())
    extension.enable(0)  # nothing asked for, nothing missing
    for call in (
        lambda: extension.enable(0, "ranged-shift"),
        lambda: extension.shift_range(0, 0, 0, 1, 1),
        lambda: extension.layers(0),
        lambda: extension.free_cells(0),
        lambda: extension.row_bytes(0, "f16"),
        lambda: extension.read_rows(0, 0, 0, 1, "f16", 0, 0),
        lambda: extension.set_bias(0, 0, 1, 0.5),
        lambda: extension.set_heads(0, None, 0, None),
        lambda: extension.set_edges(0, 0, None, 0),
    ):
        with pytest.raises(EngineUnavailable, match="stock one: install the patched one"):
            call()


def test_an_unknown_feature_is_named() -> None:
    with pytest.raises(EngineUnavailable, match=r"no feature 'faster' .* known: ranged-shift"):
        extension.enable(0, "faster")


def test_no_context_is_refused_not_followed() -> None:
    for call in (
        lambda: extension.shift_range(0, 0, 0, 1, 1),
        lambda: extension.layers(0),
        lambda: extension.free_cells(0),
        lambda: extension.row_bytes(0, "f16"),
        lambda: extension.read_rows(0, 0, 0, 1, "f16", 0, 0),
        lambda: extension.set_bias(0, 0, 1, 0.5),
        lambda: extension.write_rows(
            0, 0, 0, count=0, first=0, total=0, delta=0, k_scale=1.0, kind="f16", source=0, size=0
        ),
    ):
        with pytest.raises(extension.Refused, match="invalid argument") as refused:
            call()
        assert refused.value.status == -1
