"""The adapter's file: as written, as llama.cpp runs it, and what is refused."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest
import torch

from engine.compress import adapter
from engine.compress.adapter import Pair
from engine.errors import EngineError, ModelFileCorrupt, ModelFileMissing, ModelUnsupported
from engine.reference import architecture, forward
from engine.reference.architecture import EMBEDDING, LINEARS
from engine.reference.source import Source
from engine.runtime.adapter import Adapter
from engine.runtime.context import Context
from engine.runtime.llama import Model


@pytest.fixture
def pairs(tiny: Source) -> dict[str, Pair]:
    """Additions about as large as the weights themselves."""
    random = torch.Generator().manual_seed(8)
    found = {}
    for name in (f"blk.{layer}.{kind}.weight" for layer in range(2) for kind in LINEARS):
        rows, columns = tiny.shape(name)
        a, b = (torch.randn(size, generator=random) for size in ((4, columns), (rows, 4)))
        found[name] = Pair((a * 0.1).half(), (b * float(tiny.tensor(name).std()) * 5).half())
    return found


def logits(path: Path, tokens: list[int], beside: Path | None, scale: float = 1.0) -> np.ndarray:
    model = Model(path)
    loaded = None if beside is None else Adapter(model, beside)
    context = Context(model, context_tokens=256, batch_tokens=48, threads=1, outputs=48)
    if loaded is not None:
        loaded.attach(context, scale=scale)
    context.decode(tokens, 0, outputs="all")
    found = context.logits_rows().copy()
    context.close()
    model.close()
    return found


def test_llama_cpp_adds_what_was_written(tiny, data, pairs, tmp_path: Path) -> None:
    file = adapter.path_beside(tmp_path / "small.gguf")
    adapter.write(file, "llama", pairs, {"steerway.compress.recover": "lora"})
    assert file.name == "small.lora.gguf"
    tokens = data.text[0].tolist()
    found = architecture.of(tiny)
    turn = forward.rotation(tiny, found, 48)
    hidden = forward.embed(tiny.tensor(EMBEDDING), data.text[:1])
    for layer in range(2):
        block = forward.Block(tiny, found, layer, turn)
        for end, tensor in block.tensors().items():
            if (name := f"blk.{layer}.{end}") in pairs:
                block.put(end, tensor + pairs[name].product)
        hidden = block(hidden)
    ours = forward.Head.of(tiny, found).logits(hidden)[0].numpy()
    theirs, plain = logits(tiny.path, tokens, file), logits(tiny.path, tokens, None)
    size = np.abs(theirs).max()
    assert np.abs(ours - theirs).max() < 0.005 * size
    assert np.abs(plain - theirs).max() > 0.05 * size
    assert np.array_equal(logits(tiny.path, tokens, file, scale=0.0), plain)


def test_the_file_is_as_llama_cpp_wants_it(pairs, tmp_path: Path) -> None:
    file = tmp_path / "small.lora.gguf"
    adapter.write(file, "llama", pairs, {"steerway.compress.recover": "lora"})
    reader = gguf.GGUFReader(file)
    keys = [key for key in reader.fields if not key.startswith("GGUF")]
    values = {key: reader.get_field(key).contents() for key in keys}
    assert values == {
        "general.architecture": "llama", "general.type": "adapter", "adapter.type": "lora",
        "adapter.lora.alpha": 4.0, "steerway.compress.recover": "lora",
    }  # fmt: skip
    stored = {tensor.name: tensor.data for tensor in reader.tensors}
    assert len(stored) == 2 * len(pairs)
    for name, pair in pairs.items():
        assert np.array_equal(stored[f"{name}.lora_a"], pair.a.numpy())
        assert np.array_equal(stored[f"{name}.lora_b"], pair.b.numpy())


def test_what_is_no_adapter_of_this_model_is_refused(tiny, pairs, tmp_path: Path) -> None:
    other, half, wide, cut = (tmp_path / f"{name}.gguf" for name in ("other", "half", "wide", "cut"))
    adapter.write(other, "qwen2", pairs, {})
    name = next(iter(pairs))
    writer = gguf.GGUFWriter(half, "llama")
    writer.add_string("general.type", "adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_tensor(f"{name}.lora_a", pairs[name].a.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    adapter.write(wide, "llama", {name: Pair(torch.zeros(4, 128).half(), torch.zeros(64, 4).half())}, {})
    cut.write_bytes(other.read_bytes()[:-4000])
    model = Model(tiny.path)
    for path, kind, why in (
        (tmp_path / "none.gguf", ModelFileMissing, "no adapter file"),
        (tiny.path, ModelUnsupported, "is no LoRA adapter"),
        (other, ModelUnsupported, "is for a qwen2 model"),
        (half, ModelFileCorrupt, "without its other half"),
        (wide, ModelUnsupported, "does not fit tiny.gguf"),
        (cut, ModelFileCorrupt, "cut short"),
    ):
        with pytest.raises(kind, match=why) as refused:
            Adapter(model, path)
        assert "\n" not in str(refused.value)
    model.close()


def test_nothing_is_left_of_an_adapter_that_cannot_be_written(pairs, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="cannot be written"):
        adapter.write(tmp_path / "no/such.lora.gguf", "llama", pairs, {})
    assert not list(tmp_path.rglob("*.draft"))
