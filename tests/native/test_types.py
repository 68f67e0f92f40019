"""Steerway's weight types in the installed library: bytes, files and a model that is computed with them.

The arithmetic is native/tests/test_types.cpp's.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any
from unittest.mock import patch

import gguf
import numpy as np
import own_types
import pytest
import tiny_models
from own_types import BLOCK, TYPES, decoded, dequantise, is_valid, quantise
from steerway_native import fetch, pins, tree

from engine.runtime import library

GOLDEN = json.loads(own_types.GOLDEN.read_text())
FACTORS = np.float32([0.80, 0.85, 0.90, 0.95, 1.00, 1.05, 1.10, 1.15, 1.20])
SANITISED = (
    "ggml.c", "ggml-quants.c", "gguf.cpp", "ggml-threading.cpp",
    "steerway/steerway-types.c", "ggml-cpu/steerway/steerway-cpu-types.c",
)  # fmt: skip
FUZZ = pins.NATIVE / "tests" / "fuzz" / "fuzz_types.cpp"


def hexed(data: str) -> np.ndarray:
    return np.frombuffer(bytes.fromhex(data), "<f4")


@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
@pytest.mark.parametrize("block", GOLDEN["blocks"], ids=lambda block: f"{block['type']}: {block['case']}")
def test_the_library_gives_the_golden_bytes(block: dict[str, Any]) -> None:
    weights = hexed(block["weights"])[None]
    importance = None if block["importance"] is None else hexed(block["importance"])
    data = quantise(block["type"], weights, importance)
    assert data.tobytes().hex() == block["bytes"] == encoded(block["type"], weights[0], importance).hex()
    assert [float(value).hex() for value in dequantise(block["type"], data)[0]] == block["values"]
    assert is_valid(block["type"], data)


def encoded(name: str, row: np.ndarray, importance: np.ndarray | None) -> bytes:
    """A block as docs/weight-types.md says: the plain way, a candidate after the other."""
    low, high = (-8, 7) if name == "s24_0" else (-4, 3)
    groups = row.reshape(-1, 4)
    keep = np.sort(np.argsort(-np.abs(groups), axis=1, kind="stable")[:, :2], axis=1)
    kept = np.take_along_axis(groups, keep, 1).ravel() if name == "s24_0" else row
    errors = np.ones_like(row) if importance is None else importance
    errors = np.take_along_axis(errors.reshape(-1, 4), keep, 1).ravel() if name == "s24_0" else errors
    largest = kept[np.argmax(np.abs(kept))]
    found: tuple[float, np.float16, np.ndarray] | None = None
    for end in (low, high) if np.isfinite(row).all() else ():
        for factor in FACTORS:
            d = np.float16(np.float32(largest / (np.float32(end) * factor)))
            if not np.isfinite(d) or d == 0:
                continue
            q = np.clip(np.rint(kept.astype(np.float64) / np.float64(d)), low, high)
            terms = (kept.astype(np.float64) - np.float64(d) * q) ** 2 * errors.astype(np.float64)
            error = float(np.cumsum(terms)[-1])  # in order: numpy's sum is pairwise
            if found is None or error < found[0]:
                found = error, d, q.astype(np.int64) - low
    if found is None:
        found, keep = (0.0, np.float16(0), np.full(len(kept), -low)), np.tile([0, 1], (16, 1))
    stored = found[2]
    if name == "s24_0":
        nibbles = keep[:, 0] | keep[:, 1] << 2
        tail = [*(nibbles[::2] | nibbles[1::2] << 4), *(stored[::2] | stored[1::2] << 4)]
    else:
        bits = np.packbits(stored.astype(np.uint8) >> 2, bitorder="little")
        tail = [*((stored & 3).reshape(-1, 4) << np.array([0, 2, 4, 6])).sum(1), *bits]
    return found[1].tobytes() + bytes(int(value) for value in tail)


@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
@pytest.mark.parametrize("name", TYPES)
def test_every_encoder_that_follows_the_description_gives_the_same_bytes(name: str) -> None:
    random = np.random.default_rng(3)
    scales = np.exp(random.uniform(-18, 14, 400))
    rows = (random.standard_t(3, (400, BLOCK)) * scales[:, None]).astype(np.float32)
    rows[::7] = np.round(rows[::7] / scales[::7, None] * 2) / 2 * scales[::7, None]  # equal magnitudes, zeros
    for i, row in enumerate(rows):
        importance = random.exponential(1, BLOCK).astype(np.float32) if i % 3 == 0 else None
        assert quantise(name, row[None], importance).tobytes() == encoded(name, row, importance)


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("columns", [64, 576, 896])
def test_rows_are_blocks_side_by_side(name: str, columns: int) -> None:
    rows = np.random.default_rng(5).normal(0, 0.02, (5, columns)).astype(np.float32)
    importance = np.random.default_rng(6).exponential(1, columns).astype(np.float32)
    data = quantise(name, rows, importance)
    assert data.shape == (5, own_types.base().ggml_row_size(TYPES[name], columns)) == (5, columns // 64 * 26)
    for at in range(columns // BLOCK):
        part = slice(BLOCK * at, BLOCK * (at + 1))
        assert (quantise(name, rows[:, part], importance[part]) == data[:, 26 * at : 26 * (at + 1)]).all()
    assert (dequantise(name, data) == decoded(name, data)).all()
    if name == "s24_0":
        assert (np.count_nonzero(dequantise(name, data).reshape(-1, 4), axis=1) <= 2).all()


@pytest.mark.parametrize(("name", "error"), [("s24_0", 0.137), ("i3_0", 0.032)])
def test_the_error_of_the_reference_is_the_documented_one(name: str, error: float) -> None:
    rows = np.random.default_rng(1).normal(0, 0.05, (64, 896)).astype(np.float32)
    found = np.square(rows - dequantise(name, quantise(name, rows))).sum() / np.square(rows).sum()
    assert found == pytest.approx(error, rel=0.02)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_weight_that_is_not_finite_makes_its_block_zeros(bad: float) -> None:
    rows = np.ones((1, 3 * BLOCK), np.float32)
    rows[0, 70] = bad
    for name in TYPES:
        data = quantise(name, rows)
        assert is_valid(name, data)
        values = dequantise(name, data)[0]
        assert not values[BLOCK : 2 * BLOCK].any()
        assert values[:BLOCK].any()
        assert values[2 * BLOCK :].any()


def own_model(path: Path, name: str) -> Path:
    """A tiny model whose matrices are all of this type."""
    plain = gguf.GGUFWriter.add_tensor

    def add(writer: gguf.GGUFWriter, tensor: str, values: np.ndarray) -> None:
        if values.ndim == 2:
            plain(writer, tensor, quantise(name, values), raw_dtype=TYPES[name])  # type: ignore[arg-type]
        else:
            plain(writer, tensor, values)

    sizes = dict.fromkeys(TYPES.values(), (BLOCK, own_types.BLOCK_BYTES))
    with patch.object(gguf.GGUFWriter, "add_tensor", add), patch.dict(gguf.GGML_QUANT_SIZES, sizes):
        return tiny_models.rotating(path, "llama")


def dense_twin(path: Path, name: str) -> Path:
    """The same model with the values as they come out, in float32."""
    plain = gguf.GGUFWriter.add_tensor

    def add(writer: gguf.GGUFWriter, tensor: str, values: np.ndarray) -> None:
        plain(writer, tensor, dequantise(name, quantise(name, values)) if values.ndim == 2 else values)

    with patch.object(gguf.GGUFWriter, "add_tensor", add):
        return tiny_models.rotating(path, "llama")


def opened(path: Path) -> Any:
    """The model, or None. Tensors are validated."""
    functions = library.load()
    library.clear_log()
    params = functions.llama_model_default_params()
    params.check_tensors = True
    return functions.llama_model_load_from_file(str(path).encode(), params)


def logits(path: Path) -> np.ndarray:
    from lowlevel import Context

    model = opened(path)
    assert model, library.log_text()
    try:
        with Context(model, n_ctx=64, threads=1) as context:
            return context.decode([1, 5, 9, 2, 31], every=True)
    finally:
        library.load().llama_model_free(model)


@pytest.mark.model
@pytest.mark.parametrize("name", TYPES)
def test_a_model_of_our_types_computes_what_its_dense_twin_does(name: str, tmp_path: Path) -> None:
    """But for the activations, which are rounded to 8 bits."""
    own = logits(own_model(tmp_path / "own.gguf", name))
    dense = logits(dense_twin(tmp_path / "dense.gguf", name))
    assert np.linalg.norm(own - dense) < 0.02 * np.linalg.norm(dense)
    assert np.linalg.norm(own - dense) > 0


def changed(path: Path, at: int, data: bytes) -> Path:
    content = bytearray(path.read_bytes())
    content[at : at + len(data)] = data
    target = path.with_suffix(".changed.gguf")
    target.write_bytes(content)
    return target


def place_of_id(path: Path, name: str) -> int:
    """Of the first tensor of ours: behind name, number of dimensions and two dimensions."""
    tensor = b"token_embd.weight"
    at = path.read_bytes().index(tensor) + len(tensor) + 4 + 16
    assert path.read_bytes()[at : at + 4] == TYPES[name].to_bytes(4, "little")
    return at


@pytest.mark.model
@pytest.mark.parametrize("number", [43, 100, 239, 242, 2**31 - 1, 2**32 - 1])
def test_an_id_of_nobody_is_refused(number: int, tmp_path: Path) -> None:
    path = own_model(tmp_path / "it.gguf", "s24_0")
    bad = changed(path, place_of_id(path, "s24_0"), number.to_bytes(4, "little"))
    assert not opened(bad)
    signed = number - 2**32 if number >= 2**31 else number
    assert f"invalid ggml type {signed}" in library.log_text()


@pytest.mark.model
def test_bytes_that_are_no_weights_are_refused(tmp_path: Path) -> None:
    path = own_model(tmp_path / "it.gguf", "s24_0")
    end = path.stat().st_size
    good = opened(changed(path, end - 26, bytes(2) + b"\x44" * 8 + b"\x88" * 16))
    assert good
    library.load().llama_model_free(good)
    for scale, meta in ((b"\0\x7c", b"\x44"), (b"\xff\x7f", b"\x44"), (b"\0\0", b"\0"), (b"\0\0", b"\x41")):
        assert not opened(changed(path, end - 26, scale + meta * 8 + b"\x88" * 16))
        assert "found tensors with invalid data" in library.log_text()
    path.write_bytes(path.read_bytes()[:-27])
    assert not opened(path)


def test_an_encoding_of_another_length_is_not_valid() -> None:
    for name in TYPES:
        assert not is_valid(name, np.zeros((1, 25), np.uint8))


def compiled(tmp_path: Path, *arguments: str | Path) -> Path:
    program = tmp_path / "fuzz"
    compiler = os.environ.get("CXX", "c++")
    command = [compiler, "-std=c++17", "-Wall", "-Wextra", "-O1", "-g", FUZZ, *arguments, "-o", program]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return program


def fuzz(program: Path, model: Path, rounds: int) -> str:
    done = subprocess.run(
        [program, model, str(rounds), "1"], capture_output=True, text=True, errors="replace", check=False,
        env=os.environ | {"ASAN_OPTIONS": "allocator_may_return_null=1", "OMP_WAIT_POLICY": "passive"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", TYPES)
def test_damaged_files_never_end_the_process(name: str, tmp_path: Path) -> None:
    libraries, include = own_types.folder(), own_types.package() / "include"
    program = compiled(
        tmp_path, "-DSTEERWAY_FUZZ_LLAMA", f"-I{include}", f"-L{libraries}", "-lllama", "-lggml",
        "-lggml-base", f"-Wl,-rpath,{libraries}",
    )  # fmt: skip
    said = fuzz(program, own_model(tmp_path / "it.gguf", name), 2000)
    assert " 0 crashed" in said
    assert " 0 read" not in said  # the damage is not such that nothing is computed


@pytest.fixture(scope="module")
def sanitised(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The fuzzing program with ggml's reader of GGUF and our types, all with address sanitiser."""
    folder = tmp_path_factory.mktemp("sanitised")
    base = pins.read()
    ggml = tree.prepare(fetch.source(base), folder, base, native=pins.NATIVE, key="") / tree.GGML
    checks = ["-fsanitize=address", "-fno-sanitize-recover=all", "-O1", "-g", "-march=native"]
    defines = ['-DGGML_VERSION="0"', '-DGGML_COMMIT="0"', "-D_GNU_SOURCE"]
    (ggml / "ggml-version.h").touch()  # else CMake's
    includes = [
        f"-I{path}" for path in (ggml, ggml.parent / "include", ggml / "ggml-cpu", ggml / "ggml-cpu/steerway")
    ]
    sources = [ggml / name for name in SANITISED]
    objects = []
    for source in sources:
        objects.append(folder / f"{source.stem}-{source.suffix[1:]}.o")
        compiler = os.environ.get("CC", "cc") if source.suffix == ".c" else os.environ.get("CXX", "c++")
        more = ["-fsanitize=undefined"] if "steerway" in source.name else []
        command = [compiler, *checks, *more, *defines, *includes, "-c", source, "-o", objects[-1]]
        subprocess.run(command, check=True, capture_output=True)
    return compiled(folder, *checks, "-fsanitize=undefined", *includes, *objects, "-lpthread", "-lm")


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", TYPES)
def test_damaged_files_are_read_within_their_bounds(name: str, sanitised: Path, tmp_path: Path) -> None:
    said = fuzz(sanitised, own_model(tmp_path / "it.gguf", name), 10000)
    assert " 0 crashed" in said
    assert " 0 read" not in said
